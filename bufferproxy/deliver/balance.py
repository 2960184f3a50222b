"""Which of several targets comes next. Pure: `now` is an argument."""

from __future__ import annotations

RESTS = 5.0
"""Seconds for which a target that could not be connected to is passed over, as long as others work."""


class Balance:
    """Round robin over `count` targets, told which ones fail to connect."""

    __slots__ = ("_next", "_rests_until")

    def __init__(self, count: int) -> None:
        self._next = 0
        self._rests_until = [0.0] * count

    def order(self, now: float) -> list[int]:
        """Whom to try, one after the other. Those at rest are left out, except when all are: then each may
        be tried. A target whose rest is over is tried by one caller, the rest go on without it."""
        count = len(self._rests_until)
        start = self._next
        self._next = (start + 1) % count
        turn = [*range(start, count), *range(start)]
        awake = [index for index in turn if self._rests_until[index] <= now]
        if not awake:
            return turn
        if self._rests_until[awake[0]] > 0 and len(awake) > 1:
            self._rests_until[awake[0]] = now + RESTS  # until this caller tells how it went
        return awake

    def worked(self, index: int) -> None:
        self._rests_until[index] = 0.0

    def failed(self, index: int, now: float) -> None:
        self._rests_until[index] = now + RESTS

    def __repr__(self) -> str:
        resting = sum(until > 0 for until in self._rests_until)
        return f"<Balance targets={len(self._rests_until)} resting={resting}>"
