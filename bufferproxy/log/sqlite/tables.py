"""Partitions as tables, records as rows.

A row: offset, appended_at (seconds since the epoch), total (bytes of all values up to this one, so that a
lag in bytes is one subtraction), checksum, key, headers, value. What is read without the rest comes first.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from bufferproxy.database import Connection, Schema
from bufferproxy.errors import LogUnusable
from bufferproxy.log.contract import Keep, Topic
from bufferproxy.records import Headers, Partition, Record

SCHEMA = Schema(
    application=0x62756670,  # "bufp"
    version=1,
    script=Path(__file__).with_name("schema.sql").read_text(encoding="utf-8"),
)

Row = tuple[int, float, int, int, bytes | None, bytes, bytes]

_UNLIMITED = 1 << 30
"""What a record may have in a topic of which this process has not been told more."""


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
        self.insert = f"INSERT INTO records_{id_} VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
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


@lru_cache(maxsize=256)
def _lengths(headers: int) -> struct.Struct:
    return struct.Struct(">H" + "HI" * headers)


def pack_headers(headers: Headers) -> bytes:
    """Their number, then a length of name (2 bytes) and of value (4 bytes) each, then names and values."""
    lengths = [len(headers)]
    parts = [b""]
    for name, value in headers:
        encoded = name.encode()
        lengths += len(encoded), len(value)
        parts += encoded, value
    parts[0] = _lengths(len(headers)).pack(*lengths)
    return b"".join(parts)


def unpack_headers(packed: bytes) -> Headers:
    count = packed[0] << 8 | packed[1]
    layout = _lengths(count)
    lengths = layout.unpack_from(packed)
    at = layout.size
    headers = []
    for i in range(1, 2 * count, 2):
        middle = at + lengths[i]
        end = middle + lengths[i + 1]
        headers.append((_name(packed[at:middle]), packed[middle:end]))
        at = end
    return tuple(headers)


@lru_cache(maxsize=1024)
def _name(encoded: bytes) -> str:
    return encoded.decode()


def checksum(offset: int, key: bytes | None, headers: bytes, value: bytes) -> int:
    """CRC-32 of what a row holds; it begins with the offset, so that no row can pass for another."""
    return zlib.crc32(value, zlib.crc32(headers, zlib.crc32(key or b"", offset & 0xFFFFFFFF)))


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
