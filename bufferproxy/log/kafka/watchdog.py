"""Notices a reader or tail that gets nothing though there is something, says so, and puts a new one there.

It looks from outside: how far the partitions go is asked of the broker through another client, and how far
it is, is read without asking it. Only what a broker that answers shows to be wrong counts: while
none answers there is nothing that a new consumer could do better.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Generic, TypeVar

from bufferproxy.clock import Clock
from bufferproxy.errors import LogError, LogUnavailable
from bufferproxy.log.contract import NO_MARKS, LogReader, LogTail
from bufferproxy.log.kafka.reader import KafkaReader
from bufferproxy.log.kafka.tail import KafkaTail
from bufferproxy.log.kafka.watch import EVERY, Seen, Watch
from bufferproxy.records import Partition, Record

logger = logging.getLogger(__name__)

C = TypeVar("C", bound=KafkaReader | KafkaTail)

Ends = Callable[[Collection[Partition]], Awaitable[Mapping[Partition, int]]]
"""The next offset to be written of each. Raises LogUnavailable."""


class _Watched(ABC, Generic[C]):
    """A consumer, and after it another one, should it be stuck."""

    def __init__(self, inner: C, name: str, ends: Ends, clock: Clock) -> None:
        self.inner = inner
        self.replaced = 0
        self.trouble = ""
        """Why nothing comes, from the beginning of a replacement until there is another one."""
        self._name = name
        self._ends = ends
        self._clock = clock
        self._bug: Exception | None = None
        self._watching = asyncio.create_task(self._watch())

    @abstractmethod
    def _again(self) -> Awaitable[C]:
        """Makes another one, in place of `inner`."""

    async def fetch(self) -> Sequence[Record]:
        if self._bug is not None:
            raise self._bug
        return await self.inner.fetch()

    async def close(self) -> None:
        await self._stop()
        await self.inner.close()

    async def abandon(self) -> None:
        await self._stop()
        await self.inner.abandon()

    async def _stop(self) -> None:
        self._watching.cancel()
        await asyncio.wait([self._watching])
        self.trouble = ""

    @property
    def closed(self) -> bool:
        return self.inner.closed and self._watching.done()

    async def _watch(self) -> None:
        try:
            while True:
                why = await _until_stuck(self.inner.seen, self._ends, self._clock)
                logger.error("the Kafka consumer %s is replaced: %s", self._name, why)
                self.replaced += 1
                self.trouble = f"the Kafka consumer {self._name} is being replaced: {why}"
                await self.inner.give_up()
                await _opened(self._again, self._put, self._name, self._clock)
        except Exception as error:
            # Nobody replaces it any more, and it may be given up already: who fetches must not wait for it.
            logger.exception("watching the Kafka consumer %s met a bug", self._name)
            self._bug = error
            self.inner.fail(error)

    def _put(self, inner: C) -> None:
        self.inner = inner
        self.trouble = ""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.replaced} replaced, {self.inner!r}>"


class WatchedReader(_Watched[KafkaReader], LogReader):
    """A KafkaReader that is replaced. `open_` makes them."""

    def __init__(
        self, reader: KafkaReader, open_: Callable[[], Awaitable[KafkaReader]], ends: Ends, clock: Clock
    ) -> None:
        self.group = reader.group
        self._open = open_
        super().__init__(reader, f"of {reader.group}", ends, clock)

    def _again(self) -> Awaitable[KafkaReader]:
        return self._open()

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

    def settled(self) -> dict[Partition, int]:
        return self.inner.settled()


class WatchedTail(_Watched[KafkaTail], LogTail):
    """A KafkaTail that is replaced by one that goes on where the last ended. `open_` makes them."""

    def __init__(
        self,
        tail: KafkaTail,
        open_: Callable[[Mapping[Partition, int]], Awaitable[KafkaTail]],
        ends: Ends,
        clock: Clock,
    ) -> None:
        self._open = open_
        super().__init__(tail, f"that follows {tail.topics}", ends, clock)

    def _again(self) -> Awaitable[KafkaTail]:
        return self._open(self.inner.next)


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
    open_: Callable[[], Awaitable[C]], put: Callable[[C], None], name: str, clock: Clock
) -> None:
    """Makes a new one, until one is made."""
    while True:
        opening = asyncio.ensure_future(open_())
        try:
            put(await asyncio.shield(opening))
        except LogError as error:
            logger.warning("no new Kafka consumer %s yet: %s", name, error)
            await clock.sleep(1.0)
        except asyncio.CancelledError:
            # A consumer that is being made cannot be stopped, only be had and then closed.
            with contextlib.suppress(LogError):
                put(await opening)
            raise
        else:
            return
