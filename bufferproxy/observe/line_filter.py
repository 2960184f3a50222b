"""Which of many lines about one thing are written: the first, and every one of greater consequence. Pure."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

REPEAT = 10.0
"""Seconds for which what was written about a thing holds."""

MOST_CAUSES = 20
"""Causes of one thing that are told apart within that time: a text that differs each time is none."""

_NUMBERS = re.compile(r"\d+(\.\d+)?")


def cause_of(detail: str) -> str:
    """What stays the same when the same thing happens again: `detail` without its numbers."""
    return _NUMBERS.sub("#", detail)


class Verdict(NamedTuple):
    """Whether a line is written, and how many were left out before it, by cause."""

    write: bool
    left_out: Mapping[str, int]


class _Written:
    """What was written about a thing of late."""

    __slots__ = ("causes", "left_out", "until", "weight")

    def __init__(self, until: float, weight: float, cause: str) -> None:
        self.until = until
        self.weight = weight
        self.causes = {cause}
        self.left_out: Counter[str] = Counter()


class LineFilter:
    """Things are few: words of our own code and names from the configuration."""

    def __init__(self, seconds: float = REPEAT) -> None:
        self._seconds = seconds
        self._seen: dict[Hashable, _Written] = {}

    def judge(self, now: float, thing: Hashable, weight: float = 0.0, cause: str = "") -> Verdict:
        """A line is left out when one about `thing` was written within the last seconds that weighed as much
        (`weight`: how long, how many, how late) and one of the same `cause` as well."""
        written = self._seen.get(thing)
        if written is None or now >= written.until:
            self._seen[thing] = _Written(now + self._seconds, weight, cause)
            return Verdict(True, {} if written is None else written.left_out)  # noqa: FBT003
        news = cause not in written.causes and len(written.causes) < MOST_CAUSES
        if weight <= written.weight and not news:
            written.left_out[cause] += 1
            return Verdict(False, {})  # noqa: FBT003
        written.until = now + self._seconds
        written.weight = max(weight, written.weight)
        written.causes.add(cause)
        left_out, written.left_out = written.left_out, Counter()
        return Verdict(True, left_out)  # noqa: FBT003

    def until(self, thing: Hashable) -> float:
        """When a line about `thing` is written again, whatever it weighs."""
        return self._seen[thing].until

    def __repr__(self) -> str:
        return f"<LineFilter of {len(self._seen)} things, {self._seconds:g} s each>"
