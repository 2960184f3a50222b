"""Notices a reader that gets nothing though there is something, says so, and puts a new one in its place.

It looks from outside: how far the partitions go is asked of the broker through another client, and how far
the reader is, is read without asking it. Only what a broker that answers shows to be wrong counts: while
none answers there is nothing that a new consumer could do better.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from bufferproxy.clock import Clock
from bufferproxy.errors import LogError, LogUnavailable
from bufferproxy.log.contract import NO_MARKS, LogReader
from bufferproxy.log.kafka.reader import KafkaReader
from bufferproxy.log.kafka.watch import EVERY, Watch
from bufferproxy.records import Partition, Record

logger = logging.getLogger(__name__)

Ends = Callable[[Collection[Partition]], Awaitable[Mapping[Partition, int]]]
"""The next offset to be written of each. Raises LogUnavailable."""


class WatchedReader(LogReader):
    """A KafkaReader, and after it another one, should it be stuck. `open_` makes them."""

    def __init__(
        self, reader: KafkaReader, open_: Callable[[], Awaitable[KafkaReader]], ends: Ends, clock: Clock
    ) -> None:
        self.group = reader.group
        self.inner = reader
        self.replaced = 0
        self._open = open_
        self._ends = ends
        self._clock = clock
        self._watching = asyncio.create_task(self._watch())

    async def fetch(self) -> Sequence[Record]:
        return await self.inner.fetch()

    def after(self, record: Record) -> int:
        return self.inner.after(record)

    async def commit(
        self, offsets: Mapping[Partition, tuple[int, int]], marks: Mapping[Partition, str] = NO_MARKS
    ) -> Collection[Partition]:
        return await self.inner.commit(offsets, marks)

    def pause(self, partition: Partition) -> None:
        self.inner.pause(partition)

    def resume(self, partition: Partition) -> None:
        self.inner.resume(partition)

    async def close(self) -> None:
        await self._stop_watching()
        await self.inner.close()

    async def abandon(self) -> None:
        await self._stop_watching()
        await self.inner.end(abandon=True)

    async def _stop_watching(self) -> None:
        self._watching.cancel()
        await asyncio.wait([self._watching])

    @property
    def closed(self) -> bool:
        return self.inner.closed and self._watching.done()

    def settled(self) -> dict[Partition, int]:
        return self.inner.settled()

    async def _watch(self) -> None:
        watch = Watch()
        while True:
            await self._clock.sleep(EVERY)
            seen = self.inner.seen()
            try:
                ends = await self._ends(seen.reading.keys())
            except LogUnavailable:
                continue
            wrong = watch.look(self._clock.now(), seen, ends)
            if wrong is not None:
                await self._replace(wrong)
                watch = Watch()

    async def _replace(self, why: str) -> None:
        logger.error("the Kafka consumer of %s is replaced: %s", self.group, why)
        self.replaced += 1
        await self.inner.give_up()
        while True:
            opening = asyncio.ensure_future(self._open())
            try:
                self.inner = await asyncio.shield(opening)
            except LogError as error:
                logger.warning("no new Kafka consumer of %s yet: %s", self.group, error)
                await self._clock.sleep(1.0)
            except asyncio.CancelledError:
                # A consumer that is being made cannot be stopped, only be had and then closed.
                with contextlib.suppress(LogError):
                    self.inner = await opening
                raise
            else:
                return

    def __repr__(self) -> str:
        return f"<WatchedReader {self.replaced} replaced, {self.inner!r}>"
