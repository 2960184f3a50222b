"""The contract, kept with one SQLite file."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from bufferproxy.clock import Clock, SystemClock
from bufferproxy.database import Connection, Database, Fatal, end_process, open_database
from bufferproxy.database.filesystem import IN_MEMORY, OVER_NETWORK, kind_of
from bufferproxy.errors import (
    AppendRefused,
    AppendTooLarge,
    LogError,
    LogUnavailable,
    LogUnusable,
    StorageFull,
)
from bufferproxy.log.contract import Done, Lag, LeaseListener, Log, LogReader, LogTail, Topic
from bufferproxy.log.local import Readers
from bufferproxy.log.sqlite import catalog, reads
from bufferproxy.log.sqlite.appends import Batch, Inbox
from bufferproxy.log.sqlite.tables import UNLIMITED, Damaged, Table
from bufferproxy.log.sqlite.trim import Trimmer
from bufferproxy.log.topics import holds_fresh_requests
from bufferproxy.records import Entry, Partition, Position, Record

logger = logging.getLogger(__name__)

_NEVER = (0, "")
"""What a group has committed that never did."""

QUEUE_BYTES = 64 << 20
"""What may wait for its transaction; more is refused at once, unless nothing else waits."""

BESIDE = 64
"""Bytes that count for a record, however short it is: sizes and places of its fields."""


class SqliteLog(Log):
    """Made by `open_sqlite`."""

    def __init__(self, tables: dict[Partition, Table], trimmer: Trimmer, clock: Clock) -> None:
        self._tables = tables
        self._trimmer = trimmer
        self._clock = clock
        self._counts: dict[str, int] = {}
        self._committed: dict[tuple[str, Partition], tuple[int, str]] = {}
        self._inboxes: dict[bool, Inbox] = {}
        self._queued = 0
        self._closed = False

    async def attach(self, database: Database) -> None:
        """The rest of the construction: loads what the file holds."""
        self.database = database
        self.durability = durability_on(database.path)
        incarnation, found, self._committed = await database.transact(catalog.load)
        for table in found:
            self._add(table)
        self._readers = Readers(self, incarnation, self._clock)
        for deferrable in (True, False):
            self._inboxes[deferrable] = Inbox(
                self._clock, database.write, self._decided, deferrable=deferrable
            )

    # --- writing

    def submit(self, partition: Partition, entry: Entry, done: Done) -> None:
        size = _size(entry)
        table = self._tables.get(partition)
        if table is None:
            done(AppendRefused(f"{partition} does not exist"))
        elif size > table.max_bytes:
            done(AppendTooLarge(f"{size} bytes are more than the {table.max_bytes} of {partition.topic}"))
        elif self._queued and self._queued + size > QUEUE_BYTES:
            done(AppendRefused(f"{self._queued} bytes wait to be stored already"))
        elif self._closed:
            done(AppendRefused("the log is closed"))
        else:
            self._queued += size
            inbox = self._inboxes[table.deferrable]
            inbox.entries.append((table, entry, size, done))
            if not inbox.busy:
                inbox.send()

    def _decided(self, batch: Batch, error: LogError | None) -> None:
        """Before the batch tells who submitted: readers see what they are told of."""
        self._queued -= batch.size
        if error is not None:
            return
        for part in batch.parts:
            part.table.end = part.end.offset
            if part.table.recent.followed:
                part.table.recent.add(part.records())
        self._readers.wake([part.table.partition for part in batch.parts])

    @property
    def shortage(self) -> str:
        return self.database.shortage

    @property
    def hopeless(self) -> bool:
        return self.database.hopeless

    @property
    def warning(self) -> str:
        return self.database.warning

    def partitions(self, topic: str) -> int:
        return self.count(topic)

    # --- reading

    async def reader(self, group: str, topics: Sequence[str], listener: LeaseListener) -> LogReader:
        self._check()
        return await self._readers.reader(group, topics, listener)

    async def tail(self, offsets: Mapping[Partition, int], *, alone: bool = False) -> LogTail:
        self._check()
        return self._readers.tail(offsets)

    async def read(self, position: Position, limit: int) -> Sequence[Record]:
        partition, offset = position
        found: list[Record] = []
        while len(found) < limit:  # a scan also ends at some MiB
            part = (await self._scan({partition: offset}, limit - len(found)))[partition]
            if not part:
                break
            found.extend(part)
            offset = part[-1].offset + 1
        return found

    async def lag(self, group: str, topics: Sequence[str]) -> Mapping[Partition, Lag]:
        return (await self.lags({"": (group, topics)}))[""]

    async def lags(
        self, wanted: Mapping[str, tuple[str, Sequence[str]]]
    ) -> Mapping[str, Mapping[Partition, Lag]]:
        """In one trip to the reading thread."""
        self._check()
        chosen = {
            name: (
                group,
                [
                    self._tables[Partition(topic, number)]
                    for topic in topics
                    for number in range(self._counts.get(topic, 0))
                ],
            )
            for name, (group, topics) in wanted.items()
        }
        return await self.database.read(lambda connection: reads.lags(connection, chosen))

    async def ping(self) -> None:
        """The writer's turn comes, and it can write: a full disk is an answer too."""
        self._check()
        try:
            await self.database.transact(_nothing)
        except StorageFull as full:
            raise LogUnavailable(str(full)) from full

    # --- keeping

    async def ensure(self, topics: Sequence[Topic], *, create: bool) -> None:
        self._check()
        missing = [topic.name for topic in topics if topic.name not in self._counts]
        if missing and not create:
            raise LogUnusable(f"no topic {', '.join(missing)}: run `bufferproxy topics create`")
        if create:
            for table in await self.database.transact(lambda connection: catalog.create(connection, topics)):
                self._add(table)
        for topic in topics:
            for number in range(self._counts[topic.name]):
                self._settle_terms(self._tables[Partition(topic.name, number)], topic)

    def _add(self, table: Table) -> None:
        topic, number = table.partition
        self._tables[table.partition] = table
        self._counts[topic] = max(self._counts.get(topic, 0), number + 1)
        table.deferrable = holds_fresh_requests(topic)

    def _settle_terms(self, table: Table, topic: Topic) -> None:
        table.keep = topic.keep
        table.max_bytes = UNLIMITED if topic.copies else topic.max_bytes
        if topic.keep.committed_by is not None:
            self._trimmer.settled(table, self.committed(topic.keep.committed_by, table.partition))

    async def trim(self) -> None:
        """Returns when nothing is left that `Topic.keep` lets go. (It happens by itself, in time.)"""
        self._trimmer.hurry(eager=True)
        try:
            while await self.database.transact(lambda _: self._trimmer.due(idle=True)):
                pass
        finally:
            self._trimmer.hurry(eager=False)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        while any(inbox.entries or inbox.busy for inbox in self._inboxes.values()):
            with contextlib.suppress(LogError):  # no room, or locked: then what waits has been refused
                await self.database.transact(_nothing)
        self._readers.close()
        await self.database.close()

    # --- what `log/local.py` asks of a store

    def end(self, partition: Partition) -> int:
        return self._tables[partition].end

    def count(self, topic: str) -> int:
        if topic not in self._counts:
            raise LogUnusable(f"no topic {topic}: run `bufferproxy topics create`")
        return self._counts[topic]

    def committed(self, group: str, partition: Partition) -> int:
        offset, _ = self._committed.get((group, partition), _NEVER)
        return max(offset, self._tables[partition].start.offset)

    def marks(self, group: str, partition: Partition) -> str:
        offset, marks = self._committed.get((group, partition), _NEVER)
        return marks if offset == self.committed(group, partition) else ""

    async def commit(self, group: str, commits: Mapping[Partition, tuple[int, str]]) -> None:
        self._check()
        reached = {
            partition: (min(offset, self.end(partition)), marks)
            for partition, (offset, marks) in commits.items()
            if offset > self.committed(group, partition)
            or (offset == self.committed(group, partition) and marks != self.marks(group, partition))
        }
        if not reached:
            return
        rows = [(group, self._tables[partition].id, *commit) for partition, commit in reached.items()]
        try:
            await self.database.transact(lambda connection: _commit(connection, rows))
        except StorageFull as full:
            raise LogUnavailable(str(full)) from full
        for partition, (offset, marks) in reached.items():
            if offset >= self.committed(group, partition):
                self._committed[group, partition] = offset, marks
            if self._tables[partition].keep.committed_by == group:
                self._trimmer.settled(self._tables[partition], offset)

    async def scan(
        self, offsets: Mapping[Partition, int], limit: int
    ) -> Mapping[Partition, Sequence[Record]]:
        self._check()
        found: dict[Partition, Sequence[Record]] = {}
        for partition, offset in offsets.items():
            recent = self._tables[partition].recent.take(offset, limit) if limit > 0 else None
            if recent is None:
                break  # its turn is next: what was answered goes to the end of the order
            found[partition] = recent
            limit -= len(recent)
        if found:
            return found
        ends = {partition: self.end(partition) for partition in offsets}
        found = dict(await self._scan(offsets, limit))
        for partition, records in found.items():
            last = records[-1].offset + 1 if records else offsets[partition]
            if last >= ends[partition]:
                # It has read up to the end. What came meanwhile is not in memory: then it reads once more.
                self._tables[partition].recent.follow()
        return found

    async def _scan(
        self, offsets: Mapping[Partition, int], limit: int
    ) -> Mapping[Partition, Sequence[Record]]:
        wanted = [(self._tables[partition], offset) for partition, offset in offsets.items()]
        try:
            return await self.database.read(lambda connection: reads.scan(connection, wanted, limit))
        except Damaged as damaged:
            them = "them all" if damaged.several else "it"
            raise LogUnusable(
                f"{self.database.path}: {damaged} ({damaged.row}): stop, and restore the file from a copy, or"
                f" delete that row with sqlite3 to go on without {them}"
            ) from damaged

    def _check(self) -> None:
        if self._closed:
            raise LogUnavailable("the log is closed")

    def __repr__(self) -> str:
        return f"<SqliteLog {len(self._tables)} partitions, {self._queued} bytes queued, {self.database!r}>"


async def open_sqlite(
    path: Path,
    *,
    clock: Clock | None = None,
    reserve: int = 0,
    fatal: Fatal = end_process,
) -> SqliteLog:
    """Opens the file, or makes it. `reserve`: bytes of disk that fresh requests leave to the settling of
    older ones. `fatal` is called on the thread that saw the storage fail. Raises LogUnusable."""
    clock = clock or SystemClock()
    by_partition: dict[Partition, Table] = {}
    trimmer = Trimmer(by_partition, clock)
    log = SqliteLog(by_partition, trimmer, clock)
    database = await open_database(
        path, catalog.SCHEMA, reserve=reserve, fatal=fatal, upkeep=trimmer, clock=clock
    )
    try:
        await log.attach(database)
    except StorageFull as full:
        await database.close()
        raise LogUnusable(f"there is no room for {path} ({full}): make some, then start again") from full
    except LogUnavailable as away:
        await database.close()
        raise LogUnusable(f"{away}: start again when it is done") from away
    except BaseException:
        await database.close()
        raise
    return log


def durability_on(path: Path) -> str:
    """What "durable" means for a file there, for people."""
    kind = kind_of(path)
    if kind in IN_MEMORY:
        return f"in this machine's memory only ({path.parent} is on {kind}): gone when it restarts"
    if kind in OVER_NETWORK:
        logger.warning(
            "%s is on a network file system (%s): its locks and syncs may not hold; use a local disk",
            path,
            kind,
        )
        return f"committed, and synced as far as {kind} does (SQLite WAL, synchronous=FULL)"
    return "committed and fsynced (SQLite WAL, synchronous=FULL)"


def _size(entry: Entry) -> int:
    key, value, headers = entry
    return BESIDE + len(value) + sum(map(len, chain.from_iterable(headers))) + (len(key) if key else 0)


def _commit(connection: Connection, rows: Sequence[tuple[str, int, int, str]]) -> None:
    connection.executemany(
        "INSERT INTO offsets VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
        " SET next = excluded.next, marks = excluded.marks WHERE excluded.next >= next",
        rows,
    )


def _nothing(_: Connection) -> None:
    """Takes part in a transaction, and is told of it."""
