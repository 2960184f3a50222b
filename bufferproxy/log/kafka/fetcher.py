"""Reads partitions for many feeds, with one FetchClient on a thread of its own.

Two threads meet here. The loop owns the sources: what is read, for whom, and how far its records have come.
The poller's thread owns the client. It hands over whole polls with the sources that they were read for, so
records of a partition that was given up, or begun anew elsewhere, meanwhile are known and dropped.

A partition that its reader has paused goes on until some records wait in its feed, so that it has something
to begin with when it is resumed: a broker may hold the fetch that is under way for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from bufferproxy.clock import Clock, Timer
from bufferproxy.errors import LogUnavailable
from bufferproxy.log.kafka.engine import Engine, Failure, FetchClient, Polled
from bufferproxy.log.kafka.feed import Feed, size_of
from bufferproxy.log.kafka.poller import Poller
from bufferproxy.log.kafka.troubles import Troubles
from bufferproxy.records import Partition, Record

POLL_SECONDS = 0.2
"""That one poll waits for records: the longest that a command waits for the thread, ..."""
QUIET_POLL_SECONDS = 0.5
"""... and while nothing has come for QUIET_SECONDS: each poll is a wake-up."""
QUIET_SECONDS = 2.0
UNSEEN_POLLS = 4
"""That may wait for the loop before the thread polls again."""
SOURCE_RECORDS, SOURCE_BYTES = 4000, 4 << 20
"""Of one partition that wait in its feed before no more are fetched, ..."""
TOTAL_BYTES = 32 << 20
"""... and of all partitions together."""
TOPIC_RETRY_SECONDS = 5.0
"""Until a topic that was denied or missing is asked for again."""
AT_REST_SECONDS = 60.0


class Source:
    """One partition that is read. Belongs to the loop, but for its identity."""

    __slots__ = ("asleep", "feed", "full", "next", "partition", "records", "size")

    def __init__(self, partition: Partition, feed: Feed, offset: int) -> None:
        self.partition = partition
        self.feed = feed
        self.next = offset
        """After the last record that came."""
        self.records = self.size = 0
        """That wait in the feed."""
        self.full = self.asleep = False

    @property
    def halted(self) -> bool:
        """The client does not fetch it for now."""
        return self.full or self.asleep


class Fetcher:
    """Its methods belong to the loop, but for those of a Driver."""

    def __init__(self, name: str, engine: Engine, clock: Clock, *, wait: float) -> None:
        """`wait`: seconds that a broker may hold a fetch that finds nothing."""
        self.name = name
        self._engine = engine
        self._clock = clock
        self._wait = wait
        self._loop = asyncio.get_running_loop()
        self._sources: dict[Partition, Source] = {}
        self._size = 0
        self._held_back: dict[str, Timer] = {}
        """Topics that failed, until they are asked for again."""
        self.troubles = Troubles(clock)
        self.down = ""
        """Why there is no client now; empty while there is one."""
        self._closed = False
        # Of the poller's thread.
        self._reading: dict[Partition, Source] = {}
        self._halted: set[Partition] = set()
        self._posted = 0
        self._active_at = clock.now()
        """When records came last, or something was told."""
        # Of the loop: how many of the posted polls it has taken in.
        self._seen = 0
        self._poller: Poller[FetchClient] = Poller(self, clock.now)
        self._poller.start()

    # --- what is read

    def feed(self) -> Feed:
        return Feed(self._taken)

    def begin(self, feed: Feed, offsets: Mapping[Partition, int]) -> None:
        """Read these for `feed`, from these offsets on."""
        sources = [Source(partition, feed, offset) for partition, offset in offsets.items()]
        for source in sources:
            self._sources[source.partition] = source
        self._poller.tell(lambda client: self._begin(client, sources))

    def end(self, partitions: Collection[Partition]) -> None:
        ended = [source for p in partitions if (source := self._sources.pop(p, None)) is not None]
        by_feed: dict[Feed, list[Partition]] = {}
        for source in ended:
            by_feed.setdefault(source.feed, []).append(source.partition)
        for feed, its in by_feed.items():
            feed.drop(its)
        for source in ended:
            self._size -= source.size
        if ended:
            self._poller.tell(lambda client: self._end(client, ended))

    def reads_any(self, partitions: Collection[Partition]) -> bool:
        return not self._sources.keys().isdisjoint(partitions)

    def reading(self) -> Mapping[Partition, tuple[int, bool]]:
        """Of each partition: the next offset, and whether it only waits for records to come."""
        return {
            partition: (
                source.next,
                not source.records and not source.halted and partition.topic not in self._held_back,
            )
            for partition, source in self._sources.items()
        }

    def replace(self, why: str) -> None:
        """The client is stuck."""
        self._poller.replace(why)

    async def close(self) -> None:
        self._closed = True
        for timer in self._held_back.values():
            timer.cancel()
        await self._poller.ended()

    # --- halting, on the loop

    def sleep(self, partitions: Collection[Partition]) -> None:
        """Fetch nothing of these until `wake`."""
        self._change([s for p in partitions if (s := self._sources.get(p)) is not None], asleep=True)

    def wake(self, partitions: Collection[Partition]) -> None:
        self._change([s for p in partitions if (s := self._sources.get(p)) is not None], asleep=False)

    def _change(
        self, sources: Collection[Source], *, asleep: bool | None = None, full: bool | None = None
    ) -> None:
        before = {source: source.halted for source in sources}
        for source in sources:
            source.asleep = source.asleep if asleep is None else asleep
            source.full = source.full if full is None else full
        halted = [source for source, was in before.items() if source.halted and not was]
        resumed = [source for source, was in before.items() if was and not source.halted]
        if halted:
            self._poller.tell(lambda client: self._halt(client, halted))
        if resumed:
            self._poller.tell(lambda client: self._unhalt(client, resumed))

    def _taken(self, partition: Partition, records: int, size: int) -> None:
        """They left the feed."""
        source = self._sources.get(partition)
        if source is None:
            return  # ended: its size was given back then
        source.records -= records
        source.size -= size
        self._size -= size
        if source.full and source.records <= SOURCE_RECORDS // 4 and source.size <= SOURCE_BYTES // 4:
            self._change((source,), full=False)

    def _arrived(self, polls: Sequence[tuple[Source, list[Record]]], failures: Sequence[Failure]) -> None:
        self._seen += 1
        if self._seen == self._posted - UNSEEN_POLLS + 1:
            self._poller.wake()
        full: list[Source] = []
        for source, records in polls:
            if self._sources.get(source.partition) is not source or self._closed:
                continue  # it was given up, or begun anew, meanwhile
            if records[0].offset < source.next:  # read again by another client
                records = [record for record in records if record.offset >= source.next]
                if not records:
                    continue
            source.next = records[-1].offset + 1
            size = size_of(records)
            source.records += len(records)
            source.size += size
            self._size += size
            source.feed.offer(source.partition, records)
            if source.records >= SOURCE_RECORDS or source.size >= SOURCE_BYTES or self._size >= TOTAL_BYTES:
                full.append(source)
        self._change(full, full=True)
        for failure in failures:
            self._fail(failure)

    def _fail(self, failure: Failure) -> None:
        self.troubles.tell(failure)
        topic = failure.topic
        if topic is None:
            failed = LogUnavailable(failure.text)
            for feed in {source.feed for source in self._sources.values()}:
                feed.fail(failed)
        elif topic not in self._held_back and not self._closed:
            # The others go on without it.
            left_out = [s for s in self._sources.values() if s.partition.topic == topic]
            self._poller.tell(lambda client: self._end(client, left_out))
            again = self._clock.call_later(TOPIC_RETRY_SECONDS, lambda: self._ask_again(topic))
            self._held_back[topic] = again

    def _ask_again(self, topic: str) -> None:
        del self._held_back[topic]
        sources = [source for source in self._sources.values() if source.partition.topic == topic]
        if sources:
            self._poller.tell(lambda client: self._begin(client, sources))

    # --- on the poller's thread

    def make(self) -> FetchClient:
        client = self._engine.fetcher(wait=self._wait)
        sources = [
            source for source in list(self._sources.values()) if source.partition.topic not in self._held_back
        ]
        self._reading, self._halted = {}, set()
        self._begin(client, sources)
        self._halt(client, [source for source in sources if source.halted])
        self._poller.post(self._loop, self._up)
        return client

    def turn(self, client: FetchClient) -> float:
        if len(self._halted) == len(self._reading):
            return AT_REST_SECONDS
        if self._posted - self._seen >= UNSEEN_POLLS:
            return AT_REST_SECONDS
        quiet = self._clock.now() - self._active_at > QUIET_SECONDS
        polled = client.poll(QUIET_POLL_SECONDS if quiet else POLL_SECONDS)
        if polled.records or polled.failures:
            self._active_at = self._clock.now()
            self._post(polled)
        return 0.0

    def failed(self, failure: Failure) -> None:
        self._poller.post(self._loop, self._went_down, failure)

    def _up(self) -> None:
        self.down = ""

    def _went_down(self, failure: Failure) -> None:
        self.down = f"the Kafka client {self.name} is replaced: {failure.text}"
        self._fail(failure._replace(topic=None))

    def discard(self, client: FetchClient) -> None:
        client.close()

    def _begin(self, client: FetchClient, sources: Collection[Source]) -> None:
        self._active_at = self._clock.now()
        self._reading.update({source.partition: source for source in sources})
        client.begin({source.partition: source.next for source in sources})

    def _end(self, client: FetchClient, sources: Collection[Source]) -> None:
        ended = [source.partition for source in sources if self._reading.get(source.partition) is source]
        for partition in ended:
            del self._reading[partition]
            self._halted.discard(partition)
        if ended:
            client.end(ended)

    def _halt(self, client: FetchClient, sources: Collection[Source]) -> None:
        halted = [source.partition for source in sources if self._reading.get(source.partition) is source]
        self._halted.update(halted)
        if halted:
            client.pause(halted)

    def _unhalt(self, client: FetchClient, sources: Collection[Source]) -> None:
        resumed = [source.partition for source in sources if self._reading.get(source.partition) is source]
        self._halted.difference_update(resumed)
        if resumed:
            client.resume(resumed)

    def _post(self, polled: Polled) -> None:
        found = [
            (source, list(records))
            for partition, records in groupby(polled.records, _PARTITION)
            if (source := self._reading.get(partition)) is not None
        ]
        self._posted += 1
        self._poller.post(self._loop, self._arrived, found, polled.failures)

    def __repr__(self) -> str:
        return f"<Fetcher {self.name} {len(self._sources)} partitions, {self._size} bytes>"


_PARTITION = itemgetter(0)
"""Of a record."""
