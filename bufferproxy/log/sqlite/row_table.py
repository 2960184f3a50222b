"""A partition of a compact topic: a row for each record, so that a newer one can take the place of an older
one of its key.

A row: offset, appended_at (seconds since the epoch), total (bytes of all values up to this one), checksum,
key, headers, value. What is read without the rest comes first.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from bufferproxy.database import Connection
from bufferproxy.log.sqlite.tables import Damaged, Edge, Table
from bufferproxy.records import Entry, Headers, Partition, Record

AGED = 512
"""Rows that one look at what is too old takes in."""

Row = tuple[int, float, int, int, bytes | None, bytes, bytes]


class RowTable(Table):
    compact = True

    def __init__(self, id_: int, partition: Partition, start: Edge) -> None:
        super().__init__(id_, partition, start)
        table = self.name = f"records_{id_}"
        self._insert = f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
        self._supersede = f"DELETE FROM {table} WHERE key = ? AND offset < ?"  # noqa: S608
        self._select = (
            f"SELECT offset, appended_at, checksum, key, headers, value FROM {table}"  # noqa: S608
            " WHERE offset >= ? ORDER BY offset LIMIT ?"
        )

    def make(self, connection: Connection) -> None:
        connection.execute(
            f"CREATE TABLE {self.name} (offset INTEGER PRIMARY KEY, appended_at REAL NOT NULL,"
            " total INTEGER NOT NULL, checksum INTEGER NOT NULL, key BLOB, headers BLOB NOT NULL,"
            " value BLOB NOT NULL)"
        )
        connection.execute(f"CREATE INDEX keys_{self.id} ON {self.name} (key)")

    def append(
        self, connection: Connection, entries: Sequence[Entry], sizes: Sequence[int], at: float
    ) -> Edge:
        total = self.tail.total
        rows: list[Row] = []
        for offset, (key, value, headers) in enumerate(entries, self.tail.offset):
            total += len(value)
            packed = pack_headers(headers)
            rows.append((offset, at, total, _checksum(offset, key, packed, value), key, packed, value))
        connection.executemany(self._insert, rows)
        newest = {row[4]: row[0] for row in rows if row[4] is not None}
        connection.executemany(self._supersede, newest.items())
        return Edge(self.tail.offset + len(rows), total)

    def scan(self, connection: Connection, offset: int, limit: int, room: int) -> tuple[list[Record], int]:
        found: list[Record] = []
        # Closed at once, for its snapshot would hold up the write-ahead log.
        with contextlib.closing(connection.execute(self._select, (offset, limit))) as cursor:
            for row in cursor:
                found.append(self._record(row))
                room -= len(row[5])
                if room <= 0:
                    break
        return found, room

    def _record(self, row: tuple[int, float, int, bytes | None, bytes, bytes]) -> Record:
        offset, appended_at, stored, key, headers, value = row
        if _checksum(offset, key, headers, value) != stored:
            raise Damaged(self.partition, offset, offset, f"row {offset} of table {self.name}")
        return Record(self.partition, offset, key, value, unpack_headers(headers), appended_at)

    def last(self, connection: Connection) -> Edge | None:
        row = connection.execute(
            f"SELECT offset + 1, total FROM {self.name} ORDER BY offset DESC LIMIT 1"  # noqa: S608
        ).fetchone()
        return Edge(*row) if row else None

    def total_below(self, connection: Connection, offset: int) -> int | None:
        row = connection.execute(
            f"SELECT total FROM {self.name} WHERE offset < ? ORDER BY offset DESC LIMIT 1",  # noqa: S608
            (offset,),
        ).fetchone()
        return int(row[0]) if row else None

    def drop_below(self, connection: Connection, offset: int) -> None:
        connection.execute(f"DELETE FROM {self.name} WHERE offset < ?", (offset,))  # noqa: S608

    def first_kept(self, connection: Connection, too_old: float) -> int:
        offset = self.start.offset
        for found, at in connection.execute(
            f"SELECT offset, appended_at FROM {self.name} ORDER BY offset LIMIT {AGED}"  # noqa: S608
        ):
            if at >= too_old:
                break
            offset = found + 1
        return offset

    def sweep(self, connection: Connection, begin: int, end: int, too_old: float) -> None:
        connection.execute(
            f"DELETE FROM {self.name} WHERE offset >= ? AND offset < ?"  # noqa: S608
            " AND length(value) = 0 AND headers = ? AND appended_at < ?",
            (begin, end, _NO_HEADERS, too_old),
        )

    def lag(self, connection: Connection, committed: Edge, end: Edge) -> tuple[int, int]:
        """With holes, so they have to be counted."""
        records, size = connection.execute(
            f"SELECT count(*), coalesce(sum(length(value)), 0) FROM {self.name}"  # noqa: S608
            " WHERE offset >= ? AND offset < ?",
            (committed.offset, end.offset),
        ).fetchone()
        return records, size


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


def _checksum(offset: int, key: bytes | None, headers: bytes, value: bytes) -> int:
    """CRC-32 of what a row holds; it begins with the offset, so that no row can pass for another."""
    begin = offset & 0xFFFFFFFF
    if key is not None:
        begin = zlib.crc32(key, begin ^ 0xFFFFFFFF)  # so that an empty key differs from none
    return zlib.crc32(value, zlib.crc32(headers, begin))


_NO_HEADERS = pack_headers(())
