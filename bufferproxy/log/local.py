"""Readers and tails of the backends that live in one process: positions, pauses and waiting.

A `Store` knows what is stored; a `Feed` turns it into batches for one task that fetches.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Protocol

from bufferproxy.errors import LogUnavailable
from bufferproxy.log.contract import NO_MARKS, LeaseListener, LogReader, LogTail
from bufferproxy.log.leases import Group, Member
from bufferproxy.wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from bufferproxy.clock import Clock
    from bufferproxy.records import Partition, Record

FETCH = 500
"""Most records that one fetch returns."""


class Store(Protocol):
    def end(self, partition: Partition) -> int:
        """The next offset to be written."""
        ...

    def count(self, topic: str) -> int:
        """How many partitions the topic has. Raises LogUnusable when it has not been made."""
        ...

    def committed(self, group: str, partition: Partition) -> int: ...

    def marks(self, group: str, partition: Partition) -> str:
        """What was told with `committed`."""
        ...

    async def commit(self, group: str, commits: Mapping[Partition, tuple[int, str]]) -> None:
        """Commits next offsets with their marks; one below what is committed already changes nothing."""
        ...

    async def scan(
        self, offsets: Mapping[Partition, int], limit: int
    ) -> Mapping[Partition, Sequence[Record]]:
        """Records from these offsets on, in this order of partitions, up to `limit` in all and some MiB.
        A partition that has nothing is in the answer, empty; one that was not looked at is not."""
        ...


Followers = dict["Partition", "tuple[Feed, ...]"]
"""Who reads a partition: an append wakes these and nobody else, however many services there are."""


class Feed:
    """What one reader or tail shall get next. Lives on the loop; one task fetches."""

    def __init__(self, store: Store, followers: Followers) -> None:
        self._store = store
        self._followers = followers
        self._next: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._stirred: dict[Partition, None] = {}
        """What may have something to read, in turn. The rest is at its end, or paused."""
        self._news = Wakeup()
        self._closed: str | None = None

    def begin(self, offsets: Mapping[Partition, int]) -> None:
        self._next.update(offsets)
        self._paused.difference_update(offsets)
        self._stirred.update(dict.fromkeys(offsets))
        for partition in offsets:
            others = self._followers.get(partition, ())
            if self not in others:
                self._followers[partition] = (*others, self)
        self._news.set()

    def end(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self._next.pop(partition, None)
            followers = self._followers.get(partition, ())
            self._followers[partition] = tuple(feed for feed in followers if feed is not self)

    def pause(self, partition: Partition) -> None:
        self._paused.add(partition)

    def resume(self, partition: Partition) -> None:
        self._paused.discard(partition)
        self.wake(partition)

    def wake(self, partition: Partition) -> None:
        """Something was stored there."""
        self._stirred[partition] = None
        self._news.set()

    def close(self, why: str) -> None:
        self._closed = why
        self.end(tuple(self._next))
        self._news.set()

    @property
    def closed(self) -> bool:
        return self._closed is not None

    async def fetch(self) -> Sequence[Record]:
        while True:
            if self._closed is not None:
                raise LogUnavailable(self._closed)
            self._news.clear()
            ready = self._ready()
            if not ready:
                await self._news.wait()
                continue
            ends = {partition: self._store.end(partition) for partition in ready}
            found = await self._store.scan(ready, FETCH)
            # No await from here to the return: a cancelled fetch has moved nothing.
            records: list[Record] = []
            for partition, batch in found.items():
                records.extend(self._advance(partition, ready[partition], batch, ends[partition]))
            if records:
                return records

    def _ready(self) -> Mapping[Partition, int]:
        """Where to go on in each partition that has something. The others are looked at when they stir."""
        ready = {
            partition: offset
            for partition in self._stirred
            if (offset := self._next.get(partition)) is not None
            and partition not in self._paused
            and offset < self._store.end(partition)
        }
        if len(ready) < len(self._stirred):
            self._stirred = dict.fromkeys(ready)
        return ready

    def _advance(
        self, partition: Partition, asked: int, batch: Sequence[Record], end: int
    ) -> Sequence[Record]:
        if self._next.get(partition) != asked or partition in self._paused:
            return ()  # taken away, or given anew, while we were reading
        # To the end of the order, so that every partition has its turn. What is empty although it had
        # an end beyond was trimmed meanwhile, up to that end at least.
        del self._stirred[partition]
        self._stirred[partition] = None
        self._next[partition] = batch[-1].offset + 1 if batch else end
        return batch

    def __repr__(self) -> str:
        return f"<Feed {len(self._next)} partitions, {len(self._paused)} paused>"


class LocalReader(LogReader):
    def __init__(self, name: str, store: Store, group: Group, feed: Feed, listener: LeaseListener) -> None:
        self._name = name
        self._store = store
        self._group = group
        self._feed = feed
        self._member = Member(listener, feed)

    async def join(self) -> None:
        await self._group.join(self._member)

    async def fetch(self) -> Sequence[Record]:
        return await self._feed.fetch()

    def after(self, record: Record) -> int:
        return record.offset + 1

    async def commit(
        self, offsets: Mapping[Partition, tuple[int, int]], marks: Mapping[Partition, str] = NO_MARKS
    ) -> Collection[Partition]:
        epochs = self._member.epochs
        lost = {partition for partition, (epoch, _) in offsets.items() if epochs.get(partition) != epoch}
        good = {
            partition: (offset, marks.get(partition, ""))
            for partition, (_, offset) in offsets.items()
            if partition not in lost
        }
        if good:
            await self._store.commit(self._name, good)
        return lost

    def pause(self, partition: Partition) -> None:
        self._feed.pause(partition)

    def resume(self, partition: Partition) -> None:
        self._feed.resume(partition)

    async def close(self) -> None:
        self._feed.close("this reader was closed")
        await self._group.leave(self._member)

    def __repr__(self) -> str:
        return f"<LocalReader {self._name} {self._member!r} {self._feed!r}>"


class LocalTail(LogTail):
    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def fetch(self) -> Sequence[Record]:
        return await self._feed.fetch()

    async def close(self) -> None:
        self._feed.close("this tail was closed")


class Readers:
    """All that read from one store, and the groups they form."""

    def __init__(self, store: Store, incarnation: int, clock: Clock) -> None:
        """`incarnation` is higher each time the store is opened: with it, epochs rise over restarts."""
        self._store = store
        self._epochs = itertools.count(incarnation << 32)
        self._clock = clock
        self._groups: dict[str, tuple[frozenset[str], Group]] = {}
        self._feeds: list[Feed] = []
        self._followers: Followers = {}

    async def reader(self, name: str, topics: Sequence[str], listener: LeaseListener) -> LocalReader:
        feed = self._feed()
        reader = LocalReader(name, self._store, self._group(name, topics), feed, listener)
        try:
            await reader.join()
        except BaseException:
            feed.close("this reader was never open")
            raise
        return reader

    def tail(self, offsets: Mapping[Partition, int]) -> LocalTail:
        feed = self._feed()
        feed.begin(offsets)
        return LocalTail(feed)

    def wake(self, partitions: Iterable[Partition]) -> None:
        """Something was stored there."""
        for partition in partitions:
            for feed in self._followers.get(partition, ()):
                feed.wake(partition)

    def close(self) -> None:
        for feed in self._feeds:
            feed.close("the log was closed")

    def _feed(self) -> Feed:
        self._feeds = [feed for feed in self._feeds if not feed.closed]
        feed = Feed(self._store, self._followers)
        self._feeds.append(feed)
        return feed

    def _group(self, name: str, topics: Sequence[str]) -> Group:
        wanted = frozenset(topics)
        if name not in self._groups:
            partitions = {topic: self._store.count(topic) for topic in topics}

            def committed(partition: Partition) -> tuple[int, str]:
                return self._store.committed(name, partition), self._store.marks(name, partition)

            self._groups[name] = wanted, Group(partitions, committed, self._epochs, self._clock)
        known, group = self._groups[name]
        if known != wanted:
            raise ValueError(f"group {name} reads {sorted(known)}, so nobody of it can read {sorted(wanted)}")
        return group
