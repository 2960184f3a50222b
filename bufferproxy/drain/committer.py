"""Commits what is settled without a gap, a few times a second, and on demand before a hand-over."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from bufferproxy.clock import Clock, Timer
from bufferproxy.drain.holding import Commit, Holding
from bufferproxy.errors import LogUnavailable
from bufferproxy.log.contract import LogReader
from bufferproxy.records import Partition
from bufferproxy.wakeup import Wakeup

AGAIN = 0.5
"""Seconds until a commit that failed is tried again."""

Committed = Callable[[Mapping[Partition, Commit]], None]


class Committer:
    """`committed` is told of each commit that is durable."""

    def __init__(
        self, holding: Holding, reader: LogReader, clock: Clock, committed: Committed, every: float
    ) -> None:
        """`every`: seconds between commits. What a crash may repeat is what was answered in so long."""
        self._holding = holding
        self._reader = reader
        self._clock = clock
        self._committed = committed
        self._every = every
        self._due = Wakeup()
        self._timer: Timer | None = None
        self._failing_since: float | None = None
        holding.stirred = self._later

    @property
    def failing(self) -> float:
        """Seconds for which no commit has worked since one failed; 0.0 when the last one did."""
        return 0.0 if self._failing_since is None else self._clock.now() - self._failing_since

    def soon(self) -> None:
        """Somebody waits for the next commit."""
        self._due.set()

    async def run(self) -> None:
        """Until cancelled. Sleeps for as long as nothing is to be committed."""
        self._later()
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                self._forget_timer()
                if not await self.commit():
                    await self._clock.sleep(AGAIN)
                    self._due.set()
        finally:
            self._forget_timer()

    def _later(self) -> None:
        if self._timer is None and not self._due.is_set():
            self._timer = self._clock.call_later(self._every, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._due.set()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def commit(self, among: Collection[Partition] | None = None) -> bool:
        """Commit what has moved (in `among`, or anywhere). What cannot be committed now is kept for the
        next time. So is what is refused: either it was granted anew meanwhile, and counts under its new
        epoch, or it belongs to somebody else, and `lost` will come and make us forget it. False when the
        log is away."""
        commits = self._holding.committable(among)
        if not commits:
            return True
        offsets = {partition: (epoch, offset) for partition, (epoch, offset, _) in commits.items()}
        marks = {partition: commit.marks for partition, commit in commits.items()}
        try:
            refused = await self._reader.commit(offsets, marks)
        except LogUnavailable:
            self._holding.not_committed(commits)
            if self._failing_since is None:
                self._failing_since = self._clock.now()
            return False
        except BaseException:
            self._holding.not_committed(commits)
            raise
        self._failing_since = None
        self._holding.not_committed(refused)
        self._committed({p: commit for p, commit in commits.items() if p not in refused})
        return True
