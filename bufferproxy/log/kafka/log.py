"""The log on Kafka, put together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

from bufferproxy.clock import Clock
from bufferproxy.errors import LogError, LogUnavailable
from bufferproxy.log.contract import Done, Lag, LeaseListener, Log, Topic
from bufferproxy.log.kafka.instance import Instance
from bufferproxy.log.kafka.options import Clients, KafkaOptions, forbids, passes
from bufferproxy.log.kafka.producer import Known, Producer
from bufferproxy.log.kafka.reader import KafkaReader
from bufferproxy.log.kafka.sight import Sight
from bufferproxy.log.kafka.tail import KafkaTail
from bufferproxy.log.kafka.terms import Found, judged, takes
from bufferproxy.log.kafka.topics import Topics
from bufferproxy.log.kafka.watchdog import WatchedReader, WatchedTail
from bufferproxy.records import Entry, Partition, Position, Record

logger = logging.getLogger(__name__)

T = TypeVar("T")

PING = 3.0
"""Seconds that a ping may take."""
PATIENCE = 8.0
"""Seconds within which a question is asked again."""
TRIM_EVERY = 60.0
"""Seconds between two deletions of settled records."""


async def open_kafka(brokers: str, clock: Clock, options: KafkaOptions | None = None) -> KafkaLog:
    """`brokers`: `host:port,host:port`. Raises LogUnavailable within 10 s, LogUnusable for wrong options."""
    options = options or KafkaOptions()
    instance = None
    if options.instance_id is not None and options.shared:
        instance = Instance.claim(options.instance_id, f"{options.client_id} {brokers}")
        options = replace(options, instance_id=None if instance is None else instance.name)
    async with contextlib.AsyncExitStack() as stack:
        if instance is not None:
            stack.callback(instance.close)
        clients = Clients(brokers, options)
        topics = Topics(clients.admin, options.replication)
        stack.push_async_callback(asyncio.to_thread, topics.close)
        await asyncio.to_thread(topics.connect)
        producer = Producer(clients, clock)
        await producer.open()
        stack.pop_all()
    return KafkaLog(clients, producer, topics, clock, instance)


class KafkaLog(Log):
    def __init__(
        self,
        clients: Clients,
        producer: Producer,
        topics: Topics,
        clock: Clock,
        instance: Instance | None = None,
    ) -> None:
        self.durability = "acknowledged by all in-sync replicas of Kafka (acks=all), not fsynced by each"
        self._clients = clients
        self._producer = producer
        self._topics = topics
        self._clock = clock
        self._instance = instance
        self._known: dict[str, Topic] = {}
        self._readers: list[WatchedReader] = []
        self._tails: list[WatchedTail] = []
        self._sight = Sight(clients, clock)
        # A client of its own: kafka-python's admin client fails what is asked of it while it is busy.
        self._pings = Topics(clients.admin, clients.options.replication)
        # Threads of their own: however many wait for an answer to be read, a ping need not wait for them.
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="bufferproxy-read")
        self._pinging = ThreadPoolExecutor(1, thread_name_prefix="bufferproxy-ping")
        self._trimming = asyncio.create_task(self._trim_for_ever())

    # --- LogWriter ------------------------------------------------------------------------------------------

    def submit(self, partition: Partition, entry: Entry, done: Done) -> None:
        self._producer.submit(partition, entry, done)

    def submit_together(self, partition: Partition, entries: Sequence[Entry], done: Done) -> None:
        self._producer.submit_together(partition, entries, done)

    def partitions(self, topic: str) -> int:
        return self._producer.topics[topic].partitions

    @property
    def topics(self) -> Sequence[Topic]:
        """What `ensure` was given."""
        return tuple(self._known.values())

    # --- LogInspector ---------------------------------------------------------------------------------------

    async def lag(self, group: str, topics: Sequence[str]) -> Mapping[Partition, Lag]:
        return await self._patiently(partial(self._topics.lag, group, topics))

    async def read(self, position: Position, limit: int) -> Sequence[Record]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reading, self._sight.read, position, limit)

    async def ping(self) -> None:
        try:
            async with asyncio.timeout(PING):
                await asyncio.get_running_loop().run_in_executor(self._pinging, self._pings.ping)
        except TimeoutError:
            raise LogUnavailable(f"Kafka at {self._clients.brokers} did not answer in {PING:g} s") from None
        # That a broker answers is not enough: the clients that store and deliver are others than this one.
        for trouble in (self._producer.trouble, *[each.trouble for each in self._polling]):
            if trouble:
                raise LogUnavailable(trouble)

    # --- Log ------------------------------------------------------------------------------------------------

    async def ensure(self, topics: Sequence[Topic], *, create: bool) -> None:
        counts = await self._patiently(partial(self._topics.ensure, topics, create=create))
        found = await self._found(topics)
        for line in judged(topics, found, self._clients.options.replication):
            logger.warning("Kafka's topics are not as they should be: %s", line)
        await self._producer.know(
            {t.name: Known(counts[t.name], takes(t, found), t.keep.compact) for t in topics}
        )
        self._known.update({t.name: t for t in topics})

    async def _found(self, topics: Sequence[Topic]) -> Mapping[str, Found]:
        try:
            return await self._patiently(partial(self._topics.found, topics))
        except LogUnavailable as error:
            if not forbids(error.__cause__):
                raise
            logger.warning("whether the settings of the topics are safe cannot be seen: %s", error)
            return {}

    async def describe(self, topics: Sequence[Topic]) -> Sequence[str]:
        """What is wrong with the topics as they are, a line each."""
        return await self._patiently(partial(self._topics.describe, topics))

    async def reader(self, group: str, topics: Sequence[str], listener: LeaseListener) -> WatchedReader:
        def open_() -> Awaitable[KafkaReader]:
            return KafkaReader.open(self._clients, group, topics, listener)

        reader = WatchedReader(await open_(), open_, self._ends, self._clock)
        self._readers = [*(r for r in self._readers if not r.closed), reader]
        return reader

    async def tail(self, offsets: Mapping[Partition, int]) -> WatchedTail:
        open_ = partial(KafkaTail.open, self._clients)
        tail = WatchedTail(await open_(offsets), open_, self._ends, self._clock)
        self._tails = [*(t for t in self._tails if not t.closed), tail]
        return tail

    @property
    def _polling(self) -> Sequence[WatchedTail | WatchedReader]:
        return [*self._tails, *self._readers]

    async def _ends(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        return await asyncio.to_thread(self._topics.ends, partitions)

    async def trim(self) -> None:
        """Deletes what its group has committed, in the partitions that this process holds. Kafka itself never
        deletes it: so the log start is a floor even when committed offsets have expired."""
        settled = {
            partition: offset
            for reader in self._readers
            for partition, offset in reader.settled().items()
            if partition.topic in self._known
            and self._known[partition.topic].keep.committed_by == reader.group
        }
        await self._patiently(partial(self._topics.trim, settled))

    async def _patiently(self, ask: Callable[[], T]) -> T:
        """In a thread, and again while Kafka elects a leader or loads a coordinator: the admin client itself
        gives up at the first such answer."""
        until = self._clock.now() + PATIENCE
        while True:
            try:
                return await asyncio.to_thread(ask)
            except LogUnavailable as error:
                if not passes(error.__cause__) or self._clock.now() > until:
                    raise
            await self._clock.sleep(0.1)

    async def _trim_for_ever(self) -> None:
        while True:
            await self._clock.sleep(TRIM_EVERY)
            try:
                await self.trim()
            except LogError as error:
                logger.warning("settled records stay for another minute: %s", error)

    async def close(self) -> None:
        await self._end(abandon=False)

    async def abandon(self) -> None:
        """Lets go of everything as a crash would: nothing is flushed, nobody is told, no group is left. For
        tests of what comes after."""
        await self._end(abandon=True)

    async def _end(self, *, abandon: bool) -> None:
        self._trimming.cancel()
        async with contextlib.AsyncExitStack() as stack:
            if self._instance is not None:
                stack.callback(self._instance.close)
            stack.callback(self._reading.shutdown, wait=False)
            stack.callback(self._pinging.shutdown, wait=False)
            stack.push_async_callback(asyncio.to_thread, self._topics.close)
            stack.push_async_callback(asyncio.to_thread, self._pings.close)
            stack.push_async_callback(asyncio.to_thread, self._sight.close)
            stack.push_async_callback(self._producer.abandon if abandon else self._producer.close)
            for each in self._polling:
                stack.push_async_callback(each.abandon if abandon else each.close)

    def __repr__(self) -> str:
        return f"<KafkaLog {self._clients.brokers} {self._producer!r} {self._readers!r} {self._tails!r}>"
