"""How far topics that are followed without a group have been read, and who waits for more of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from bufferproxy.clock import Clock
from bufferproxy.errors import LogUnavailable
from bufferproxy.log.contract import Lag, Log, LogTail
from bufferproxy.records import Partition, Record

PATIENCE = 5.0
"""Seconds that a look may wait for what is in the log and not read yet."""


class Reading:
    def __init__(self, log: Log, topics: Iterable[str], clock: Clock, *, alone: bool = False) -> None:
        self.next: dict[Partition, int] = {}
        """Of each partition, the next offset that was not read yet."""
        self._log = log
        self._topics = tuple(topics)
        self._alone = alone
        self._clock = clock
        self._moved = asyncio.Event()

    async def begin(self, known: Mapping[Partition, int]) -> tuple[LogTail, dict[Partition, int]]:
        """Goes on at the offsets that are `known` from before; also returns where each partition ends now."""
        ends: dict[Partition, int] = {}
        lags = (await self._log.lags({"": ("", self._topics)})).get("", {})
        for topic in self._topics:
            for number in range(self._log.partitions(topic)):
                partition = Partition(topic, number)
                read, lag = known.get(partition, 0), lags.get(partition)
                if lag is None or lag.stale:
                    self.next[partition] = read  # of no use to wait for: it is read when it can be
                    continue
                # Who has read more than there is has read of a log that was there before this one.
                self.next[partition] = max(read, lag.start) if read <= lag.end else lag.start
                ends[partition] = lag.end
        return await self._log.tail(self.next, alone=self._alone), ends

    async def lags(self) -> Mapping[Partition, Lag]:
        """Of what can be known now."""
        lags = (await self._log.lags({"": ("", self._topics)})).get("", {})
        return {partition: lag for partition, lag in lags.items() if not lag.stale}

    async def batches(self, tail: LogTail) -> AsyncIterator[Sequence[Record]]:
        """For ever: an outage is waited for."""
        while True:
            try:
                yield await tail.fetch()
            except LogUnavailable:
                await self._clock.sleep(0.5)

    def reach(self, ends: Mapping[Partition, int]) -> None:
        """All before these was read, or is gone."""
        for partition, end in ends.items():
            self.next[partition] = max(end, self.next.get(partition, 0))
        self._moved.set()

    def reached(self, lags: Mapping[Partition, Lag]) -> bool:
        """Whether all that these tell of was read."""
        return all(max(self.next.get(p, 0), lag.start) >= lag.end for p, lag in lags.items())

    async def up_to(self, lags: Mapping[Partition, Lag]) -> None:
        """Returns when all that these tell of was read. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            while not self.reached(lags):
                self._moved.clear()
                await self._moved.wait()

    def __repr__(self) -> str:
        return f"<Reading of {len(self.next)} partitions>"
