"""A partition as a table: what the log, its readers and the trimmer ask of one, whatever its rows are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from bufferproxy.database import Connection
from bufferproxy.errors import LogUnusable
from bufferproxy.log.contract import Keep
from bufferproxy.log.sqlite.recent import Recent
from bufferproxy.records import Entry, Partition, Record

UNLIMITED = 1 << 30
"""What a record may have in a topic of which this process has not been told more."""


class Edge(NamedTuple):
    """A place between two records: the offset of the one behind it, and the bytes of all values ever stored
    before it. (So a lag in bytes is one subtraction.)"""

    offset: int
    total: int


class Table(ABC):
    """Where a partition begins and ends, and its statements.

    `start` and `tail` belong to the writer's thread: the first kept record, and the next one to be written.
    `end` is what the loop knows to be durable, `settled` what it knows to be committed by whom the topic is
    kept for.
    """

    name: str
    """In the file."""
    compact: bool
    """It keeps the newest record of each key only, so it has holes."""

    def __init__(self, id_: int, partition: Partition, start: Edge) -> None:
        self.id = id_
        self.partition = partition
        self.start = start
        self.tail = start
        self.end = start.offset
        self.settled = start.offset
        self.keep = Keep()
        self.max_bytes = UNLIMITED
        self.deferrable = False
        self.recent = Recent()
        self.made = False
        """It is in the file, which it is from its first record on: a service that is never used has none of
        its dozen tables, in the file and in SQLite's memory."""

    def open(self, connection: Connection) -> None:
        """It was found in the file: finds its end. Two steps down a tree, however many records there are."""
        self.made = True
        self.tail = self.last(connection) or self.start
        self.end = self.tail.offset

    @abstractmethod
    def make(self, connection: Connection) -> None:
        """Into the file. `made` is set when that is committed; until then nothing but `append` may be called,
        and only within this transaction."""

    @abstractmethod
    def append(
        self, connection: Connection, entries: Sequence[Entry], sizes: Sequence[int], at: float
    ) -> Edge:
        """From `tail` on. `sizes` are in bytes, `at` in seconds since the epoch. Returns what `tail` is when
        this is committed."""

    @abstractmethod
    def scan(self, connection: Connection, offset: int, limit: int, room: int) -> tuple[list[Record], int]:
        """Up to `limit` records from `offset` on, in about `room` bytes; and what is left of the room. No
        records only when nothing is stored from there on. Raises Damaged."""

    @abstractmethod
    def last(self, connection: Connection) -> Edge | None:
        """The end; None when no record is kept."""

    @abstractmethod
    def total_below(self, connection: Connection, offset: int) -> int | None:
        """Bytes of all values ever stored below `offset`; None when none of these records is kept."""

    @abstractmethod
    def drop_below(self, connection: Connection, offset: int) -> None:
        """Rows go that hold nothing else."""

    @abstractmethod
    def first_kept(self, connection: Connection, too_old: float) -> int:
        """Where the first record lies that was appended at `too_old` or later; at most some rows further than
        the oldest."""

    def sweep(self, connection: Connection, begin: int, end: int, too_old: float) -> None:
        """Tombstones from `begin` up to `end` that are older go. Only where the table is compact."""
        raise NotImplementedError

    def lag(self, connection: Connection, committed: Edge, end: Edge) -> tuple[int, int]:
        """Records, and bytes of their values, between two places."""
        return end.offset - committed.offset, end.total - committed.total

    def __repr__(self) -> str:
        name = f"{self.partition.topic}/{self.partition.number}"
        return f"<{type(self).__name__} {self.id} {name} {self.start.offset}..{self.tail.offset}>"


class Damaged(LogUnusable):
    """What was read is not what was stored. `row` is where it lies in the file."""

    def __init__(self, partition: Partition, first: int, last: int, row: str) -> None:
        what = f"record {first} of" if first == last else f"one of the records {first} to {last} of"
        super().__init__(f"{what} {partition.topic}, partition {partition.number}, is damaged")
        self.row = row
        self.several = first != last
