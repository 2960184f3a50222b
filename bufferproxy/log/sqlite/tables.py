"""Partitions as tables, records as rows.

A row: offset, appended_at (seconds since the epoch), total (bytes of all values up to this one, so that a
lag in bytes is one subtraction), checksum, key, headers, value. What is read without the rest comes first.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from bufferproxy.database import Connection, Schema
from bufferproxy.errors import LogUnusable
from bufferproxy.log.contract import Keep, Topic
from bufferproxy.log.sqlite.recent import Recent
from bufferproxy.records import Headers, Partition, Record

SCHEMA = Schema(
    application=0x62756670,  # "bufp"
    version=1,
    script=Path(__file__).with_name("schema.sql").read_text(encoding="utf-8"),
)

Row = tuple[int, float, int, int, bytes | None, bytes, bytes]

_UNLIMITED = 1 << 30
"""What a record may have in a topic of which this process has not been told more."""


MANY = 32
"""Rows in one statement. SQLite's module lets go of the interpreter around each statement and asks for it
again behind it, which takes long while the loop is busy: one statement a row would make the writer crawl."""


class Table:
    """One partition: its statements, and where it begins and ends.

    `tail` and `tail_total` belong to the writer's thread: the next offset, and the bytes of all values so
    far. `end` is what the loop knows to be durable, `settled` what it knows to be committed by whom the topic
    is kept for.
    """

    def __init__(self, id_: int, partition: Partition, start: int, start_total: int) -> None:
        self.id = id_
        self.partition = partition
        self.start = start
        self.start_total = start_total
        self.tail = start
        self.tail_total = start_total
        self.end = start
        self.settled = start
        self.keep = Keep()
        self.max_bytes = _UNLIMITED
        self.deferrable = False
        self.recent = Recent()
        self.insert = f"INSERT INTO records_{id_} VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
        self.insert_many = self.insert + ", (?, ?, ?, ?, ?, ?, ?)" * (MANY - 1)
        self.supersede = f"DELETE FROM records_{id_} WHERE key = ? AND offset < ?"  # noqa: S608
        self.select = (
            f"SELECT offset, appended_at, checksum, key, headers, value FROM records_{id_}"  # noqa: S608
            " WHERE offset >= ? ORDER BY offset LIMIT ?"
        )

    def open(self, connection: Connection) -> None:
        """Finds the end. Two steps down a tree, however many records there are."""
        last = connection.execute(
            f"SELECT offset, total FROM records_{self.id} ORDER BY offset DESC LIMIT 1"  # noqa: S608
        ).fetchone()
        if last is not None:
            self.tail, self.tail_total = last[0] + 1, last[1]
        self.end = self.tail

    def __repr__(self) -> str:
        return f"<Table {self.id} {self.partition.topic}/{self.partition.number} {self.start}..{self.tail}>"


def insert_rows(connection: Connection, table: Table, rows: list[Row]) -> None:
    many = len(rows) // MANY * MANY
    for begin in range(0, many, MANY):
        connection.execute(table.insert_many, list(chain.from_iterable(rows[begin : begin + MANY])))
    connection.executemany(table.insert, rows[many:])


def load(connection: Connection) -> tuple[int, list[Table], dict[tuple[str, Partition], int]]:
    """This time's incarnation, all tables, and what every group has committed."""
    connection.execute("UPDATE incarnations SET number = number + 1")
    (incarnation,) = connection.execute("SELECT number FROM incarnations").fetchone()
    tables: dict[int, Table] = {}
    for id_, name, number, start, total in connection.execute(
        "SELECT partitions.id, name, number, start, start_total"
        " FROM partitions JOIN topics ON topics.id = topic ORDER BY partitions.id"
    ):
        tables[id_] = Table(id_, Partition(name, number), start, total)
    for table in tables.values():
        table.open(connection)
    committed = {
        (group, tables[id_].partition): offset
        for group, id_, offset in connection.execute('SELECT "group", partition, next FROM offsets')
    }
    return incarnation, list(tables.values()), committed


def create(connection: Connection, topics: Iterable[Topic]) -> list[Table]:
    """Makes the topics that are missing, with their tables, and the indexes that compact ones need."""
    made: list[Table] = []
    for topic in topics:
        row = connection.execute("SELECT id FROM topics WHERE name = ?", (topic.name,)).fetchone()
        if row is None:
            made.extend(_create(connection, topic))
        if topic.keep.compact:
            for (id_,) in connection.execute(
                "SELECT partitions.id FROM partitions JOIN topics ON topics.id = topic WHERE name = ?",
                (topic.name,),
            ).fetchall():
                connection.execute(f"CREATE INDEX IF NOT EXISTS keys_{id_} ON records_{id_} (key)")
    return made


def _create(connection: Connection, topic: Topic) -> Iterable[Table]:
    cursor = connection.execute(
        "INSERT INTO topics (name, partitions) VALUES (?, ?)", (topic.name, topic.partitions)
    )
    for number in range(topic.partitions):
        id_ = connection.execute(
            "INSERT INTO partitions (topic, number) VALUES (?, ?)", (cursor.lastrowid, number)
        ).lastrowid
        assert id_ is not None  # noqa: S101 - an INSERT has one
        connection.execute(
            f"CREATE TABLE records_{id_} (offset INTEGER PRIMARY KEY, appended_at REAL NOT NULL,"
            " total INTEGER NOT NULL, checksum INTEGER NOT NULL, key BLOB, headers BLOB NOT NULL,"
            " value BLOB NOT NULL)"
        )
        yield Table(id_, Partition(topic.name, number), 0, 0)


# --- headers and checksum


class _Shape(NamedTuple):
    """What packed headers with the same names have in common."""

    names: tuple[str, ...]
    packed: bytes
    """Length of the rest (4 bytes), then each name with its length (2 bytes) before it."""
    lengths: struct.Struct
    """Of the values, 4 bytes each; the values follow."""


@lru_cache(maxsize=256)
def _shape_of(names: tuple[str, ...]) -> _Shape:
    encoded = [name.encode() for name in names]
    packed = b"".join(len(name).to_bytes(2, "big") + name for name in encoded)
    return _Shape(names, len(packed).to_bytes(4, "big") + packed, struct.Struct(f">{len(names)}I"))


@lru_cache(maxsize=256)
def _shape_in(packed: bytes) -> _Shape:
    names = []
    at = 4
    while at < len(packed):
        end = at + 2 + int.from_bytes(packed[at : at + 2], "big")
        names.append(packed[at + 2 : end].decode())
        at = end
    return _shape_of(tuple(names))


def pack_headers(headers: Headers) -> bytes:
    """A shape, then the lengths of the values and the values. (There are few shapes, so most of it is
    made once: this is on the way of every request.)"""
    names, values = zip(*headers, strict=True) if headers else ((), ())
    _, shape, lengths = _shape_of(names)
    return shape + lengths.pack(*map(len, values)) + b"".join(values)


def unpack_headers(packed: bytes) -> Headers:
    at = 4 + int.from_bytes(packed[:4], "big")
    names, _, lengths = _shape_in(packed[:at])
    sizes = lengths.unpack_from(packed, at)
    at += lengths.size
    values = []
    for size in sizes:
        values.append(packed[at : at + size])
        at += size
    return tuple(zip(names, values, strict=True))


def checksum(offset: int, key: bytes | None, headers: bytes, value: bytes) -> int:
    """CRC-32 of what a row holds; it begins with the offset, so that no row can pass for another."""
    begin = offset & 0xFFFFFFFF
    if key is not None:
        begin = zlib.crc32(key, begin ^ 0xFFFFFFFF)  # so that an empty key differs from none
    return zlib.crc32(value, zlib.crc32(headers, begin))


def record_of(partition: Partition, row: tuple[int, float, int, bytes | None, bytes, bytes]) -> Record:
    """Raises LogUnusable when the row is not what was stored."""
    offset, appended_at, stored, key, headers, value = row
    if checksum(offset, key, headers, value) != stored:
        raise DamagedRecord(partition, offset)
    return Record(partition, offset, key, value, unpack_headers(headers), appended_at)


class DamagedRecord(LogUnusable):
    """What was read is not what was stored."""

    def __init__(self, partition: Partition, offset: int) -> None:
        super().__init__(f"record {offset} of {partition.topic}, partition {partition.number}, is damaged")
        self.partition = partition
        self.offset = offset
