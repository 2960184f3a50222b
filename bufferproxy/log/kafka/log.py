"""The log on Kafka, put together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

from bufferproxy.clock import Clock
from bufferproxy.errors import LogError, LogUnavailable
from bufferproxy.log.contract import Done, Lag, LeaseListener, Library, Log, Topic
from bufferproxy.log.kafka.choice import engine_of
from bufferproxy.log.kafka.engine import ClientFailed, Engine
from bufferproxy.log.kafka.fetcher import Fetcher
from bufferproxy.log.kafka.instance import Instance
from bufferproxy.log.kafka.kafka_python.errors import forbids, passes
from bufferproxy.log.kafka.kafka_python.settings import Clients
from bufferproxy.log.kafka.lookup import Lookup
from bufferproxy.log.kafka.measure import Measure
from bufferproxy.log.kafka.membership import Membership
from bufferproxy.log.kafka.offsets import Offsets
from bufferproxy.log.kafka.options import KafkaOptions
from bufferproxy.log.kafka.outbox import Known, Outbox
from bufferproxy.log.kafka.reader import KafkaReader
from bufferproxy.log.kafka.tail import KafkaTail
from bufferproxy.log.kafka.terms import Found, judged, takes
from bufferproxy.log.kafka.topics import Topics
from bufferproxy.log.kafka.troubles import Troubles
from bufferproxy.log.kafka.watch import WATCH_SECONDS, Seen, Watch
from bufferproxy.records import Entry, Partition, Position, Record

logger = logging.getLogger(__name__)

T = TypeVar("T")

PING_SECONDS = 3.0
"""That a ping may take."""
PATIENCE_SECONDS = 8.0
"""Within which a question is asked again."""
SETTINGS_SECONDS = 1.5
"""Within which a broker has heard of a new topic."""
TRIM_SECONDS = 60.0
"""Between two deletions of settled records."""
READ_WAIT, TAIL_WAIT = 0.5, 1.0
"""Seconds that a broker may hold a fetch that finds nothing: of requests, and of what is only followed."""


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
        engine = engine_of(brokers, options, clients)
        topics = Topics(clients.admin, options.replication)
        stack.push_async_callback(asyncio.to_thread, topics.close)
        outbox = Outbox(engine, clock)
        # Side by side: each finds its brokers by itself.
        made = asyncio.to_thread(topics.connect), outbox.open(), asyncio.to_thread(clients.one_cluster)
        failures = [each for each in await asyncio.gather(*made, return_exceptions=True) if each is not None]
        if failures:
            # The one that names the cause: what one client finds out may be a time-out to the other.
            failures.sort(key=lambda failure: "uthentication" not in str(failure))
            stack.push_async_callback(outbox.abandon)
            if isinstance(failures[0], ClientFailed | LogUnavailable):
                why = f"{outbox.complaint}; " if outbox.complaint else ""
                raise LogUnavailable(f"{why}{failures[0]}") from failures[0]
            raise failures[0]
        stack.pop_all()
    return KafkaLog(clients, engine, outbox, topics, clock, instance)


class KafkaLog(Log):
    def __init__(
        self,
        clients: Clients,
        engine: Engine,
        outbox: Outbox,
        topics: Topics,
        clock: Clock,
        instance: Instance | None = None,
    ) -> None:
        self.durability = "acknowledged by all in-sync replicas of Kafka (acks=all), not fsynced by each"
        self.engine = engine
        self.library = Library(engine.name, engine.version)
        self._clients = clients
        self._outbox = outbox
        self._topics = topics
        self._clock = clock
        self._instance = instance
        self._known: dict[str, Topic] = {}
        self._members: list[Membership] = []
        self._fetchers: list[Fetcher] = []
        self._tail_fetchers: list[Fetcher] = []
        self._troubles = Troubles(clock)
        self._offsets = Offsets(topics, clock)
        self._measure = Measure(self._offsets, topics, clock, self._troubles)
        self._lookup = Lookup(engine, clock)
        # A thread of its own: however many wait for an answer, a ping need not wait for them.
        self._pinging = ThreadPoolExecutor(1, thread_name_prefix="bufferproxy-kafka-ping")
        self._background = [
            asyncio.create_task(self._trim_for_ever()),
            asyncio.create_task(self._watch_for_ever()),
        ]

    # --- LogWriter ------------------------------------------------------------------------------------------

    def submit(self, partition: Partition, entry: Entry, done: Done) -> None:
        self._outbox.submit(partition, entry, done)

    def partitions(self, topic: str) -> int:
        return self._outbox.topics[topic].partitions

    @property
    def topics(self) -> Sequence[Topic]:
        """What `ensure` was given."""
        return tuple(self._known.values())

    # --- LogInspector ---------------------------------------------------------------------------------------

    async def lag(self, group: str, topics: Sequence[str]) -> Mapping[Partition, Lag]:
        until = self._clock.now() + PATIENCE_SECONDS
        while True:
            try:
                return await self._measure.exact(group, topics)
            except LogUnavailable:
                if self._clock.now() > until:
                    raise
            await self._clock.sleep(0.1)

    async def lags(
        self, wanted: Mapping[str, tuple[str, Sequence[str]]]
    ) -> Mapping[str, Mapping[Partition, Lag]]:
        return await self._measure.all(wanted)

    async def read(self, position: Position, limit: int) -> Sequence[Record]:
        return await self._lookup.read(position, limit)

    async def ping(self) -> None:
        try:
            async with asyncio.timeout(PING_SECONDS):
                await asyncio.get_running_loop().run_in_executor(self._pinging, self._topics.ping)
        except TimeoutError:
            seconds = f"{PING_SECONDS:g} s"
            raise LogUnavailable(f"Kafka at {self._clients.brokers} did not answer in {seconds}") from None
        # That a broker answers is not enough: the clients that store and deliver are others than this one.
        if self._outbox.trouble:
            raise LogUnavailable(self._outbox.trouble)
        for down in (*[each.down for each in self._fetchers], *[each.down for each in self._members]):
            if down:
                raise LogUnavailable(down)

    # --- Log ------------------------------------------------------------------------------------------------

    @property
    def warning(self) -> str:
        """Topics that are denied, missing or without a leader concern their services only."""
        all_ = (
            self._troubles,
            self._outbox.troubles,
            *[fetcher.troubles for fetcher in self._fetchers],
            *[member.troubles for member in self._members],
        )
        texts = [text for each in all_ for topic, text in each.current().items() if topic is not None]
        return "; ".join(dict.fromkeys(texts))

    async def ensure(self, topics: Sequence[Topic], *, create: bool) -> None:
        counts = await self._patiently(partial(self._topics.ensure, topics, create=create))
        found = await self._found(topics)
        for line in judged(topics, found, self._clients.options.replication):
            logger.warning("Kafka's topics are not as they should be: %s", line)
        for name in self._topics.denied & counts.keys():
            self._outbox.deny(name)
        await self._outbox.know(
            {t.name: Known(counts[t.name], takes(t, found), t.keep.compact) for t in topics}
        )
        self._known.update({t.name: t for t in topics})

    async def _found(self, topics: Sequence[Topic]) -> Mapping[str, Found]:
        """As they are, as far as we may see it. A broker may need a moment to hear of a new one."""
        until = self._clock.now() + SETTINGS_SECONDS
        while True:
            try:
                found = await self._patiently(partial(self._topics.found, topics, whole=False))
            except LogUnavailable as error:
                if not forbids(error.__cause__):
                    raise
                found = {}
            unseen = [t.name for t in topics if t.name not in found and t.name not in self._topics.denied]
            if not unseen or self._clock.now() > until:
                break
            await self._clock.sleep(0.1)
        if unseen:
            logger.warning(
                "whether the settings of %s are safe cannot be seen: not authorized (DESCRIBE_CONFIGS)",
                ", ".join(unseen),
            )
        return found

    async def describe(self, topics: Sequence[Topic]) -> Sequence[str]:
        """What is wrong with the topics as they are, a line each."""
        return await self._patiently(partial(self._topics.describe, topics))

    async def reader(self, group: str, topics: Sequence[str], listener: LeaseListener) -> KafkaReader:
        member = next((m for m in self._members if m.group == group and m.takes(topics)), None)
        if member is None:
            fetcher = self._fetcher("of requests", READ_WAIT)
            member = Membership(group, self.engine, fetcher, self._offsets, self._clock, self._expel)
            self._members = [*(m for m in self._members if not m.closed), member]
        reader = KafkaReader(member, member.fetcher, topics, listener)
        member.add(reader)
        return reader

    async def tail(self, offsets: Mapping[Partition, int], *, alone: bool = False) -> KafkaTail:
        shared = () if alone else self._tail_fetchers
        fetcher = next((f for f in shared if not f.reads_any(offsets)), None)
        if fetcher is None:
            fetcher = self._fetcher("that follows", TAIL_WAIT)
            if not alone:
                self._tail_fetchers.append(fetcher)
        return KafkaTail(fetcher, offsets, self._clock)

    def _fetcher(self, name: str, wait: float) -> Fetcher:
        fetcher = Fetcher(name, self.engine, self._clock, wait=wait)
        self._fetchers.append(fetcher)
        return fetcher

    async def trim(self) -> None:
        """Deletes what its group has committed, in the partitions that this process holds. Kafka itself never
        deletes it: so the log start is a floor even when committed offsets have expired."""
        settled = {
            partition: offset
            for member in self._members
            for partition, offset in member.settled().items()
            if partition.topic in self._known
            and self._known[partition.topic].keep.committed_by == member.group
        }
        await self._patiently(partial(self._topics.trim, settled))

    async def _patiently(self, ask: Callable[[], T]) -> T:
        """In a thread, and again while Kafka elects a leader or loads a coordinator: the admin client itself
        gives up at the first such answer."""
        until = self._clock.now() + PATIENCE_SECONDS
        while True:
            try:
                return await asyncio.to_thread(ask)
            except LogUnavailable as error:
                if not passes(error.__cause__) or self._clock.now() > until:
                    raise
            await self._clock.sleep(0.1)

    async def _trim_for_ever(self) -> None:
        while True:
            await self._clock.sleep(TRIM_SECONDS)
            try:
                await self.trim()
            except LogError as error:
                logger.warning("settled records stay for another minute: %s", error)

    async def _watch_for_ever(self) -> None:
        watches: dict[Fetcher, Watch] = {}
        while True:
            await self._clock.sleep(WATCH_SECONDS)
            for fetcher in self._fetchers:
                reading = fetcher.reading()
                if not reading or fetcher.down:
                    watches.pop(fetcher, None)  # a client that is being made is not stuck
                    continue
                ends = (await self._offsets.ends(reading.keys())).found
                seen = {p: Seen(reading[p][0], end, waits=reading[p][1]) for p, end in ends.items()}
                watch = watches.setdefault(fetcher, Watch())
                stuck = watch.look(seen)
                if stuck is not None:
                    fetcher.replace(f"nothing came of {stuck} though there is more")
                    watches[fetcher] = Watch()

    async def close(self) -> None:
        await self._end(abandon=False)

    async def abandon(self) -> None:
        """Lets go of everything as a crash would: nothing is flushed, nobody is told, no group is left. For
        tests of what comes after."""
        await self._end(abandon=True)

    async def _end(self, *, abandon: bool) -> None:
        for task in self._background:
            task.cancel()
        async with contextlib.AsyncExitStack() as stack:
            if self._instance is not None:
                stack.callback(self._instance.close)
            stack.callback(self._pinging.shutdown, wait=False)
            stack.callback(self._offsets.close)
            stack.callback(self._measure.close)
            stack.push_async_callback(asyncio.to_thread, self._topics.close)
            stack.push_async_callback(self._lookup.close)
            stack.push_async_callback(self._outbox.abandon if abandon else self._outbox.close)
            for fetcher in self._fetchers:
                stack.push_async_callback(fetcher.close)
            for member in self._members:
                stack.push_async_callback(partial(member.close, leave=not abandon))

    async def _expel(self, group: str) -> None:
        """A static member is not let go by leaving: others would wait for its session."""
        instance = self._clients.options.instance_id
        if instance is None:
            return
        try:
            await asyncio.to_thread(self._clients.expel, group, instance)
        except LogError as error:
            logger.warning("%s is not left yet: others wait for its session: %s", group, error)

    def __repr__(self) -> str:
        return f"<KafkaLog {self._clients.brokers} {self.engine.name} {self._outbox!r} {self._members!r}>"
