"""Partitions without a group, from given offsets on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bufferproxy.clock import Clock, Timer
from bufferproxy.log.contract import LogTail
from bufferproxy.log.kafka.fetcher import Fetcher
from bufferproxy.records import Partition, Record

GULP_SECONDS = 0.25
"""For which records gather before they are fetched together, while nobody waits for them."""
GULP_RECORDS = 250
"""A fetch that brings fewer has reached the end, or nearly so."""


class KafkaTail(LogTail):
    def __init__(self, fetcher: Fetcher, offsets: Mapping[Partition, int], clock: Clock) -> None:
        self._fetcher = fetcher
        self._partitions = tuple(offsets)
        self._clock = clock
        self._resting = False
        self._asleep: Timer | None = None
        self._feed = fetcher.feed()
        fetcher.begin(self._feed, offsets)

    async def fetch(self) -> Sequence[Record]:
        records = await self._feed.take()
        if self._resting and self._asleep is None and len(records) < GULP_RECORDS:
            self._fetcher.sleep(self._partitions)
            self._asleep = self._clock.call_later(GULP_SECONDS, self._wake)
        return records

    def rest(self) -> None:
        self._resting = True

    def hurry(self) -> None:
        self._resting = False
        if self._asleep is not None:
            self._asleep.cancel()
            self._wake()

    def _wake(self) -> None:
        self._asleep = None
        self._fetcher.wake(self._partitions)

    async def close(self) -> None:
        self._resting = False
        if self._asleep is not None:
            self._asleep.cancel()
        self._feed.close()
        self._fetcher.end(self._partitions)

    def __repr__(self) -> str:
        return f"<KafkaTail {len(self._partitions)} partitions {self._feed!r}>"
