"""Commits what is settled without a gap, a few times a second, and on demand before a hand-over."""

from __future__ import annotations

from collections.abc import Collection

from bufferproxy.clock import Clock
from bufferproxy.drain.holding import Holding
from bufferproxy.errors import LogUnavailable
from bufferproxy.log.contract import LogReader
from bufferproxy.records import Partition

EVERY = 0.1
"""Seconds between commits: what a crash may repeat is what was answered in so long."""


class Committer:
    def __init__(self, holding: Holding, reader: LogReader, clock: Clock) -> None:
        self._holding = holding
        self._reader = reader
        self._clock = clock

    async def run(self) -> None:
        while True:
            await self._clock.sleep(EVERY)
            await self.commit()

    async def commit(self, among: Collection[Partition] | None = None) -> None:
        """Commit what has moved (in `among`, or anywhere). What cannot be committed now is kept for the next
        time. So is what is refused: either it was granted anew meanwhile, and counts under its new epoch, or
        it belongs to somebody else, and `lost` will come and make us forget it."""
        commits = self._holding.committable(among)
        if not commits:
            return
        offsets = {partition: (epoch, offset) for partition, (epoch, offset, _) in commits.items()}
        marks = {partition: commit.marks for partition, commit in commits.items()}
        try:
            self._holding.not_committed(await self._reader.commit(offsets, marks))
        except LogUnavailable:
            self._holding.not_committed(commits)
        except BaseException:
            self._holding.not_committed(commits)
            raise
