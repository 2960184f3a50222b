"""How much waits, as acceptance needs to know it: exact where one process sees all, else measured anew
twice a second and counted on in between."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from bufferproxy.accept.admission import CLEAR, Outlook, Reading
from bufferproxy.records import Partition, Position

STALE_SECONDS = 5.0
"""For which figures of an earlier look are good enough to refuse by."""


class Backlog:
    """One service's. `rate` is how fast it drains, per second: its configured ceiling, or what was measured
    where there is none."""

    __slots__ = (
        "_ceiling",
        "_exact",
        "_now",
        "_since",
        "_stale_since",
        "delayed",
        "outlook",
        "rate",
        "requests",
        "size",
        "storing",
    )

    def __init__(self, ceiling: float, *, exact: bool, now: Callable[[], float] = lambda: 0.0) -> None:
        """`now`: seconds of a clock."""
        self._ceiling = self.rate = ceiling
        self.requests = 0
        self.size = 0
        self.delayed = 0
        """How many of `requests` wait for a time of their own, as measured: nobody waits behind these."""
        self.outlook: Outlook = CLEAR
        """As the process sees it that drains too; where nobody does, nothing is known."""
        self.storing = 0
        """How many of `requests` are not durable yet, so that nobody was told that they are accepted."""
        self._exact = exact
        self._now = now
        self._stale_since: float | None = None
        self._since: list[Position] = []
        """Stored since the measurement that is under way began: it may or may not have seen them."""

    def added(self, size: int) -> None:
        """One is about to be stored."""
        self.storing += 1
        self.requests += 1
        self.size += size

    def stored(self, position: Position) -> None:
        """... and was."""
        self.storing -= 1
        if not self._exact:
            self._since.append(position)

    def taken_back(self, size: int) -> None:
        """... and was not."""
        self.storing -= 1
        self.requests -= 1
        self.size -= size

    def finished(self) -> None:
        """One has ended (only told where one process sees all)."""
        if self._exact:
            self.requests -= 1

    def measuring(self) -> None:
        """A measurement begins."""
        self._since = []

    def measured(
        self,
        requests: int,
        size: int,
        drained: float,
        ends: Mapping[Partition, int],
        delayed: int = 0,
        *,
        stale: bool = False,
    ) -> None:
        """What the log says: open requests, bytes of their bodies, ends per second of late, how far each
        partition was looked at (next offset), and how many requests are delayed. `stale`: some of it is as
        of an earlier look."""
        if not stale:
            self._stale_since = None
        elif self._stale_since is None:
            self._stale_since = self._now()
        self.delayed = delayed
        if not self._exact:
            unseen = sum(offset >= ends.get(partition, 0) for partition, offset in self._since)
            self.requests = requests + unseen + self.storing
        self.size = size
        if self._ceiling == math.inf:
            self.rate = drained if drained > 0.0 else math.inf

    @property
    def ready(self) -> int:
        """How many come before one that is accepted now, and it."""
        return max(1, self.requests - self.delayed)

    @property
    def doubtful(self) -> bool:
        """The log could not tell for so long that nobody is to be refused on what it told last."""
        return self._stale_since is not None and self._now() - self._stale_since > STALE_SECONDS

    def reading(self) -> Reading:
        return Reading(self.requests, self.size, self.rate, self.delayed, self.outlook, self.doubtful)

    def __repr__(self) -> str:
        return f"<Backlog {self.requests} requests, {self.size} B>"
