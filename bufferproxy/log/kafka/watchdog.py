"""Notices a reader or tail that gets nothing though there is something, says so, and puts a new one there.

It looks from outside: how far the partitions go is asked of the broker through another client, and how far
it is, is read without asking it. Only what a broker that answers shows to be wrong counts: while
none answers there is nothing that a new consumer could do better.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TypeVar

from bufferproxy.clock import Clock
from bufferproxy.errors import LogError, LogUnavailable
from bufferproxy.log.contract import NO_MARKS, LogReader, LogTail
from bufferproxy.log.kafka.reader import KafkaReader
from bufferproxy.log.kafka.tail import KafkaTail
from bufferproxy.log.kafka.watch import EVERY, Seen, Watch
from bufferproxy.records import Partition, Record

logger = logging.getLogger(__name__)

T = TypeVar("T")

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
        await _stopped(self._watching)
        await self.inner.close()

    async def abandon(self) -> None:
        await _stopped(self._watching)
        await self.inner.end(abandon=True)

    @property
    def closed(self) -> bool:
        return self.inner.closed and self._watching.done()

    def settled(self) -> dict[Partition, int]:
        return self.inner.settled()

    async def _watch(self) -> None:
        while True:
            why = await _until_stuck(self.inner.seen, self._ends, self._clock)
            logger.error("the Kafka consumer of %s is replaced: %s", self.group, why)
            self.replaced += 1
            await self.inner.give_up()
            await _opened(self._open, self._put, self.group, self._clock)

    def _put(self, reader: KafkaReader) -> None:
        self.inner = reader

    def __repr__(self) -> str:
        return f"<WatchedReader {self.replaced} replaced, {self.inner!r}>"


class WatchedTail(LogTail):
    """A KafkaTail, and after it another one that goes on where the last ended. `open_` makes them."""

    def __init__(
        self,
        tail: KafkaTail,
        open_: Callable[[Mapping[Partition, int]], Awaitable[KafkaTail]],
        ends: Ends,
        clock: Clock,
    ) -> None:
        self.inner = tail
        self.replaced = 0
        self._open = open_
        self._ends = ends
        self._clock = clock
        self._watching = asyncio.create_task(self._watch())

    async def fetch(self) -> Sequence[Record]:
        return await self.inner.fetch()

    async def close(self) -> None:
        await _stopped(self._watching)
        await self.inner.close()

    async def abandon(self) -> None:
        await _stopped(self._watching)
        await self.inner.abandon()

    @property
    def closed(self) -> bool:
        return self.inner.closed and self._watching.done()

    async def _watch(self) -> None:
        while True:
            why = await _until_stuck(self.inner.seen, self._ends, self._clock)
            tail = self.inner
            logger.error("the Kafka consumer that follows %s is replaced: %s", tail.topics, why)
            self.replaced += 1
            await tail.give_up()
            await _opened(partial(self._open, tail.next), self._put, tail.topics, self._clock)

    def _put(self, tail: KafkaTail) -> None:
        self.inner = tail

    def __repr__(self) -> str:
        return f"<WatchedTail {self.replaced} replaced, {self.inner!r}>"


async def _until_stuck(look: Callable[[], Seen], ends: Ends, clock: Clock) -> str:
    """Returns what is wrong."""
    watch = Watch()
    while True:
        await clock.sleep(EVERY)
        seen = look()
        try:
            known = await ends(seen.reading.keys())
        except LogUnavailable:
            continue
        wrong = watch.look(clock.now(), seen, known)
        if wrong is not None:
            return wrong


async def _opened(
    open_: Callable[[], Awaitable[T]], put: Callable[[T], None], name: str, clock: Clock
) -> None:
    """Makes a new one, until one is made."""
    while True:
        opening = asyncio.ensure_future(open_())
        try:
            put(await asyncio.shield(opening))
        except LogError as error:
            logger.warning("no new Kafka consumer of %s yet: %s", name, error)
            await clock.sleep(1.0)
        except asyncio.CancelledError:
            # A consumer that is being made cannot be stopped, only be had and then closed.
            with contextlib.suppress(LogError):
                put(await opening)
            raise
        else:
            return


async def _stopped(watching: asyncio.Task[None]) -> None:
    watching.cancel()
    await asyncio.wait([watching])
