"""The log in memory: what the other backends are compared with, and what quick tests run on.

It keeps the contract word for word but one: it survives a crash of the *log*, not of the process, when it is
opened again on the same `Memory`.
"""

from __future__ import annotations

import asyncio
import bisect
from collections import deque
from typing import TYPE_CHECKING

from bufferproxy.clock import Clock, SystemClock
from bufferproxy.errors import AppendRefused, AppendTooLarge, LogUnavailable, LogUnusable
from bufferproxy.log.contract import (
    Appended,
    Done,
    Lag,
    LeaseListener,
    Log,
    LogReader,
    LogTail,
    Topic,
)
from bufferproxy.log.local import Readers
from bufferproxy.records import Entry, Partition, Position, Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Stored:
    """The records of one partition. `start` and `end` stay when everything between them is trimmed."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.start = 0
        self.end = 0

    def since(self, offset: int, limit: int) -> list[Record]:
        first = bisect.bisect_left(self.records, offset, key=_offset)
        return self.records[first : first + limit]

    def drop_below(self, offset: int) -> None:
        self.start = max(self.start, min(offset, self.end))
        del self.records[: bisect.bisect_left(self.records, self.start, key=_offset)]

    def compact(self) -> None:
        newest = {record.key: record.offset for record in self.records}
        self.records = [r for r in self.records if r.key is None or newest[r.key] == r.offset]


class Memory:
    """What outlives a MemoryLog."""

    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}
        self.partitions: dict[Partition, Stored] = {}
        self.committed: dict[tuple[str, Partition], int] = {}
        self.marks: dict[tuple[str, Partition], tuple[int, str]] = {}
        self.incarnation = 0


class MemoryLog(Log):
    durability = "in memory only: gone with the process"

    def __init__(self, memory: Memory | None = None, clock: Clock | None = None) -> None:
        self._memory = memory or Memory()
        self._memory.incarnation += 1
        self._clock = clock or SystemClock()
        self._readers = Readers(self, self._memory.incarnation, self._clock)
        self._submitted: deque[tuple[Partition, Entry, Done]] = deque()
        self._closed = False

    # --- writing

    def submit(self, partition: Partition, entry: Entry, done: Done) -> None:
        topic = self._memory.topics.get(partition.topic)
        if self._closed:
            done(AppendRefused("the log is closed"))
        elif topic is None or partition not in self._memory.partitions:
            done(AppendRefused(f"{partition} does not exist"))
        elif _size(entry) > topic.max_bytes and not topic.copies:
            done(AppendTooLarge(f"{_size(entry)} bytes are more than the {topic.max_bytes} of {topic.name}"))
        else:
            if not self._submitted:
                asyncio.get_running_loop().call_soon(self._flush)
            self._submitted.append((partition, entry, done))

    def partitions(self, topic: str) -> int:
        return self.count(topic)

    def _flush(self) -> None:
        """Stores what has been submitted, then tells everybody: as another backend's commit would."""
        told: list[tuple[Done, Position]] = []
        now = self._clock.wall()
        while self._submitted:
            partition, entry, done = self._submitted.popleft()
            stored = self._memory.partitions[partition]
            offset = stored.end
            stored.end += 1
            stored.records.append(Record(partition, offset, entry.key, entry.value, entry.headers, now))
            told.append((done, Position(partition, offset)))
        for done, result in told:
            done(result)
        self._readers.wake({position.partition for _, position in told})

    # --- reading

    async def reader(self, group: str, topics: Sequence[str], listener: LeaseListener) -> LogReader:
        self._check()
        return await self._readers.reader(group, topics, listener)

    async def tail(self, offsets: Mapping[Partition, int], *, alone: bool = False) -> LogTail:
        self._check()
        return self._readers.tail(offsets)

    async def read(self, position: Position, limit: int) -> Sequence[Record]:
        self._check()
        return self._memory.partitions[position.partition].since(position.offset, limit)

    async def lag(self, group: str, topics: Sequence[str]) -> Mapping[Partition, Lag]:
        self._check()
        lags = {}
        for partition, stored in self._memory.partitions.items():
            if partition.topic in topics:
                committed = self.committed(group, partition)
                open_ = stored.since(committed, len(stored.records))
                size = sum(len(record.value) for record in open_)
                lag = Lag(stored.start, committed, stored.end, len(open_), size)
                lags[partition] = lag.without(self.marks(group, partition))
        return lags

    async def ping(self) -> None:
        self._check()

    # --- keeping

    async def ensure(self, topics: Sequence[Topic], *, create: bool) -> None:
        self._check()
        missing = [topic.name for topic in topics if topic.name not in self._memory.topics]
        if missing and not create:
            raise LogUnusable(f"no topic {', '.join(missing)}: run `bufferproxy topics create`")
        for topic in topics:
            known = self._memory.topics.get(topic.name, topic)
            self._memory.topics[topic.name] = topic._replace(partitions=known.partitions)
            for number in range(known.partitions):
                self._memory.partitions.setdefault(Partition(topic.name, number), Stored())

    def trim(self) -> None:
        """Lets go of what `Topic.keep` no longer asks for."""
        for partition, stored in self._memory.partitions.items():
            keep = self._memory.topics[partition.topic].keep
            if keep.compact:
                stored.compact()
            if keep.committed_by is not None:
                stored.drop_below(self.committed(keep.committed_by, partition))
            if keep.seconds is not None:
                kept_from = self._clock.wall() - keep.seconds
                young = (r.offset for r in stored.records if r.appended_at >= kept_from)
                stored.drop_below(next(young, stored.end))

    async def close(self) -> None:
        self._flush()
        self._closed = True
        self._readers.close()

    # --- what `log/local.py` asks of a store

    def end(self, partition: Partition) -> int:
        return self._memory.partitions[partition].end

    def count(self, topic: str) -> int:
        if topic not in self._memory.topics:
            raise LogUnusable(f"no topic {topic}: run `bufferproxy topics create`")
        return self._memory.topics[topic].partitions

    def committed(self, group: str, partition: Partition) -> int:
        stored = self._memory.partitions[partition]
        return max(self._memory.committed.get((group, partition), 0), stored.start)

    def marks(self, group: str, partition: Partition) -> str:
        offset, marks = self._memory.marks.get((group, partition), (0, ""))
        return marks if offset == self.committed(group, partition) else ""

    async def commit(self, group: str, commits: Mapping[Partition, tuple[int, str]]) -> None:
        self._check()
        for partition, (offset, marks) in commits.items():
            reached = min(max(self.committed(group, partition), offset), self.end(partition))
            self._memory.committed[group, partition] = reached
            if reached == offset:
                self._memory.marks[group, partition] = offset, marks

    async def scan(
        self, offsets: Mapping[Partition, int], limit: int
    ) -> Mapping[Partition, Sequence[Record]]:
        found: dict[Partition, Sequence[Record]] = {}
        for partition, offset in offsets.items():
            if limit <= 0:
                break
            found[partition] = self._memory.partitions[partition].since(offset, limit)
            limit -= len(found[partition])
        return found

    def _check(self) -> None:
        if self._closed:
            raise LogUnavailable("the log is closed")

    def __repr__(self) -> str:
        return f"<MemoryLog {len(self._memory.partitions)} partitions, {len(self._submitted)} submitted>"


def _offset(record: Record) -> int:
    return record.offset


def _size(entry: Entry) -> int:
    headers = sum(len(name) + len(value) for name, value in entry.headers)
    return len(entry.key or b"") + len(entry.value) + headers


def _nothing(_: Appended) -> None: ...
