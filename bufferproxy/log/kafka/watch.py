"""Notices a fetcher that gets nothing though there is something.

It looks from outside: how far partitions go is asked of their leaders. Only what a broker that answers shows
to be wrong counts: while none answers there is nothing that another client could do better.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bufferproxy.records import Partition

WATCH_SECONDS = 5.0
"""Between two looks. What is wrong in three in a row is acted on."""
LOOKS = 3


class Seen(NamedTuple):
    """Of one partition, at one look. `waits`: nothing of it is at hand, and nothing keeps it from coming."""

    next: int
    end: int
    waits: bool


class Watch:
    """The last looks at one fetcher."""

    def __init__(self) -> None:
        self._stuck: dict[Partition, tuple[int, int]] = {}
        """Partition -> where it waits though there is more, and in how many looks."""

    def look(self, seen: Mapping[Partition, Seen]) -> Partition | None:
        """One that is stuck: it has waited at the same offset, with records before it, in LOOKS looks."""
        self._stuck = {
            partition: (each.next, self._looks_at(partition, each.next))
            for partition, each in seen.items()
            if each.waits and each.next < each.end
        }
        return next((p for p, (_, looks) in self._stuck.items() if looks >= LOOKS), None)

    def _looks_at(self, partition: Partition, offset: int) -> int:
        before, looks = self._stuck.get(partition, (-1, 0))
        return looks + 1 if before == offset else 1
