"""What was fetched and is not settled lies in memory: one budget of bytes for all services of a process.

Each service may hold as much as is free, and no more (dynamic thresholds, as switches share their buffers:
Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998). One service
with a long backlog takes half of the budget, two take a third each, n take 1/(n + 1) each; that much is
always left for the next one that begins, so no service that is slow, or rests with a full window, starves
another.

    held by a service < budget - held by all

A service that holds nothing may always fetch once, so all of them go on even when the budget is smaller than
one request: then it is exceeded by a fetch (1 MiB on SQLite) of each.
"""

from __future__ import annotations

DEFAULT = 256 << 20
"""Bytes."""


class ReadAhead:
    """The budget, in bytes, and how much of it is used."""

    __slots__ = ("budget", "used")

    def __init__(self, budget: int = DEFAULT) -> None:
        self.budget = budget
        self.used = 0

    @property
    def free(self) -> int:
        return max(0, self.budget - self.used)

    def __repr__(self) -> str:
        return f"<ReadAhead {self.used} of {self.budget} B>"


class Part:
    """One service's part of it. `held`: bytes that lie in its windows."""

    __slots__ = ("_ahead", "held")

    def __init__(self, ahead: ReadAhead) -> None:
        self._ahead = ahead
        self.held = 0

    def add(self, size: int) -> None:
        """A negative `size` gives back."""
        self.held += size
        self._ahead.used += size

    def full(self, share: float = 1.0) -> bool:
        """It holds as much as it may, or this share of that."""
        return self.held > 0 and self.held >= share * self._ahead.free

    def __repr__(self) -> str:
        return f"<Part {self.held} B of {self._ahead!r}>"
