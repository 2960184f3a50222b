"""When a caller wants its request sent, until when, and how soon beside others. Pure.

A delay is relative and a Not-Before is a moment, so the same head means another moment each time it comes:
`Schedule` keeps what was said, and `moments` says what that comes to.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeVar

from bufferproxy.accept.fields import only, shown
from bufferproxy.config.units import LONGEST, parse_duration
from bufferproxy.http1.problems import Problem, bad_request
from bufferproxy.records import Priority

T = TypeVar("T")

DELAY, NOT_BEFORE = b"bufferproxy-delay", b"bufferproxy-not-before"
EXPIRES, PRIORITY = b"bufferproxy-expires", b"bufferproxy-priority"
_OURS = frozenset({DELAY, NOT_BEFORE, EXPIRES, PRIORITY})

_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}):([0-9]{2})(\.[0-9]{1,30})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Schedule(NamedTuple):
    """Milliseconds; `not_before` since the epoch. `lives`: from acceptance to expiry, at most."""

    delay: int = 0
    not_before: int | None = None
    lives: int | None = None
    priority: Priority | None = None

    @property
    def delayed(self) -> bool:
        return self.delay > 0 or self.not_before is not None

    def due_at(self, now_ms: int) -> int | None:
        """Of what is accepted now; None: it need not wait."""
        due_at = now_ms + self.delay if self.not_before is None else self.not_before
        return due_at if due_at > now_ms else None

    def impossible(self, now_ms: int) -> Problem | None:
        """Why nothing that is accepted now can be sent as asked; None: it can be."""
        due_at = self.due_at(now_ms)
        if due_at is None:
            return None
        if due_at - now_ms > 1000 * LONGEST:
            return bad_request("Bufferproxy-Not-Before: it is more than a hundred years away")
        return None

    def moments(self, now_ms: int, expire: int) -> tuple[int | None, int]:
        """When it is due, and when it expires. The service's own `expire` counts from when it may be sent:
        who asks for a longer delay wants it sent all the same."""
        due_at = self.due_at(now_ms)
        expires_at = (now_ms if due_at is None else due_at) + expire
        return due_at, expires_at if self.lives is None else min(expires_at, now_ms + self.lives)

    def living(self, most: int) -> Schedule:
        """The same, but expired `most` after acceptance."""
        return self._replace(lives=most if self.lives is None else min(most, self.lives))


NOTHING = Schedule()


def schedule_of(headers: list[tuple[bytes, bytes]], names: Mapping[bytes, bytes]) -> Schedule | Problem:
    """`names`: of all headers, in lower case."""
    if _OURS.isdisjoint(names):
        return NOTHING
    try:
        if DELAY in names and NOT_BEFORE in names:
            raise ValueError("Bufferproxy-Delay and Bufferproxy-Not-Before exclude each other")
        said = {name: only(headers, name).decode("latin-1").strip() for name in _OURS if name in names}
        lives = _read(said, EXPIRES, _duration)
        if lives == 0:
            raise ValueError("Bufferproxy-Expires: it would be expired before it could be sent")
        return Schedule(
            _read(said, DELAY, _duration) or 0,
            _read(said, NOT_BEFORE, moment),
            lives,
            _read(said, PRIORITY, _priority),
        )
    except ValueError as error:
        return bad_request(str(error))


def moment(text: str) -> int:
    """RFC 3339 -> milliseconds since the epoch, rounded up: not before is not before. Raises ValueError."""
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text[:40]}" is not a time like 2026-01-31T12:00:00Z')
    day, minute, second, fraction, zone = match.groups()
    leap = second == "60"  # it has no number of its own: it counts as the second after the one before it
    zone = "+00:00" if zone in "Zz" else zone
    try:
        whole = datetime.fromisoformat(f"{day}T{minute}:{'59' if leap else second}{zone}") - _EPOCH
    except (ValueError, OverflowError) as error:
        raise ValueError(f'"{text[:40]}" is not a time that there is: {error}') from error
    return whole // _MILLISECOND + 1000 * leap + math.ceil(float(fraction or 0) * 1000)


def _read(said: Mapping[bytes, str], name: bytes, read: Callable[[str], T]) -> T | None:
    if name not in said:
        return None
    try:
        return read(said[name])
    except ValueError as error:
        raise ValueError(f"{shown(name)}: {error}") from error


def _duration(text: str) -> int:
    return math.ceil(parse_duration(text) * 1000)


def _priority(text: str) -> Priority:
    try:
        return Priority[text.upper()] if text.isascii() else Priority(-1)
    except (KeyError, ValueError):
        raise ValueError(f'"{text[:40]}" is not high, normal or low') from None
