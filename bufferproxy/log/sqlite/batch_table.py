"""A partition whose rows are batches: what one transaction appended, or as much of it as a row may hold.

SQLite's module lets go of the interpreter several times in each statement and asks for it again behind it,
which takes long while the loop is busy, and slows down the loop as well. A row for each record made that the
largest part of what a record cost; a batch is one statement to write and one step to read.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property

from bufferproxy.database import Connection
from bufferproxy.log.sqlite import batches
from bufferproxy.log.sqlite.batches import NUMBER, Packed
from bufferproxy.log.sqlite.tables import Damaged, Edge, Table
from bufferproxy.records import Entry, Partition, Record

MOST = 256
"""Records in a row, and ..."""
MOST_BYTES = 1 << 20
"""... bytes of values from which on a row takes no more: whoever wants one record reads all of the row."""
AGED = 16
"""Rows that one look at what is too old takes in."""
END = (1 << 63) - 1
"""Above every offset."""

_HEAD = struct.Struct("<qqdq")

Row = tuple[int, int, float, int, int, bytes, bytes, bytes]
"""base (offset of the first record), count, appended_at (seconds since the epoch), total (bytes of all values
up to the last one of the row), checksum, and the three parts of `batches.py`."""


class BatchTable(Table):
    compact = False

    def __init__(self, id_: int, partition: Partition, start: Edge) -> None:
        super().__init__(id_, partition, start)
        self.name = f"batches_{id_}"

    # Statements are spelled when they are first used: a service at rest needs none of them.

    @cached_property
    def _insert(self) -> str:
        return f"INSERT INTO {self.name} VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608

    @cached_property
    def _within(self) -> str:
        return (
            f"SELECT * FROM {self.name} WHERE base < ?1 + ?2 AND base >="  # noqa: S608
            f" coalesce((SELECT max(base) FROM {self.name} WHERE base <= ?1), ?1) ORDER BY base"
        )

    @cached_property
    def _behind(self) -> str:
        return f"SELECT * FROM {self.name} WHERE base > ?1 ORDER BY base LIMIT ?2"  # noqa: S608

    @cached_property
    def _row_below(self) -> str:
        return (
            f"SELECT base, count, total, layout FROM {self.name} WHERE base < ?"  # noqa: S608
            " ORDER BY base DESC LIMIT 1"
        )

    def make(self, connection: Connection) -> None:
        connection.execute(
            f"CREATE TABLE {self.name} (base INTEGER PRIMARY KEY, count INTEGER NOT NULL,"
            " appended_at REAL NOT NULL, total INTEGER NOT NULL, checksum INTEGER NOT NULL,"
            " names BLOB NOT NULL, layout BLOB NOT NULL, fields BLOB NOT NULL)"
        )

    def append(
        self, connection: Connection, entries: Sequence[Entry], sizes: Sequence[int], at: float
    ) -> Edge:
        offset, total = self.tail
        for part in rows_of(entries, sizes):
            packed = batches.pack(part)
            total += sum([len(entry.value) for entry in part])
            head = offset, len(part), at, total
            connection.execute(self._insert, (*head, _checksum(head, packed), *packed))
            offset += len(part)
        return Edge(offset, total)

    def scan(self, connection: Connection, offset: int, limit: int, room: int) -> tuple[list[Record], int]:
        found, left = self._take(connection, self._within, (offset, limit), room)
        if not found:
            # Behind a gap (a damaged row was deleted) there may be something beyond the limit only.
            found, left = self._take(connection, self._behind, (offset, limit), room)
        return found, left

    def _take(
        self, connection: Connection, select: str, bounds: tuple[int, int], room: int
    ) -> tuple[list[Record], int]:
        offset, limit = bounds
        found: list[Record] = []
        # Closed at once, for its snapshot would hold up the write-ahead log.
        with contextlib.closing(connection.execute(select, bounds)) as cursor:
            for row in cursor:
                base, count, packed = self._checked(row)
                first = max(offset - base, 0)
                if first >= count:
                    continue
                if found and count > limit:
                    break  # the rest of a row would have it read twice
                last = min(count, first + limit)
                fields = batches.unpack(packed, count, first, last)
                found += batches.records(self.partition, base + first, fields, row[2])
                limit -= last - first
                room -= len(packed.fields)
                if limit <= 0 or room <= 0:
                    break
        return found, room

    def _checked(self, row: Row) -> tuple[int, int, Packed]:
        """Before anything that it says is believed, for a wrong count would hide records."""
        base, count, at, total, stored, *parts = row
        packed = Packed(*parts)
        try:
            good = _checksum((base, count, at, total), packed) == stored
        except (TypeError, struct.error):  # what was a blob or a number is none any more
            good = False
        if not good:
            last = base + count - 1 if isinstance(count, int) else base
            raise Damaged(self.partition, base, last, f"row {base} of table {self.name}")
        return base, count, packed

    def last(self, connection: Connection) -> Edge | None:
        row = connection.execute(self._row_below, (END,)).fetchone()
        return Edge(row[0] + row[1], row[2]) if row else None

    def total_below(self, connection: Connection, offset: int) -> int | None:
        row = connection.execute(self._row_below, (offset,)).fetchone()
        if row is None:
            return None
        base, count, total, layout = row
        return int(total) - batches.sum_of(layout[max(offset - base, 0) * NUMBER : count * NUMBER])

    def drop_below(self, connection: Connection, offset: int) -> None:
        row = connection.execute(self._row_below, (offset,)).fetchone()
        if row is not None:
            base, count, *_ = row
            kept = base if base + count > offset else offset
            connection.execute(f"DELETE FROM {self.name} WHERE base < ?", (kept,))  # noqa: S608

    def first_kept(self, connection: Connection, too_old: float) -> int:
        offset = self.start.offset
        for base, count, at in connection.execute(
            f"SELECT base, count, appended_at FROM {self.name} ORDER BY base LIMIT {AGED}"  # noqa: S608
        ):
            if at >= too_old:
                break
            offset = base + count
        return offset


def rows_of(entries: Sequence[Entry], sizes: Sequence[int]) -> Iterator[Sequence[Entry]]:
    if len(entries) <= MOST and sum(sizes) <= MOST_BYTES:
        yield entries
        return
    begin = bytes_ = 0
    for at, size in enumerate(sizes):
        if at > begin and (at - begin == MOST or bytes_ + size > MOST_BYTES):
            yield entries[begin:at]
            begin, bytes_ = at, 0
        bytes_ += size
    yield entries[begin:]


def _checksum(head: tuple[int, int, float, int], packed: Packed) -> int:
    """CRC-32 of all that a row holds; it begins with the offset, so that no row can pass for another."""
    begin = zlib.crc32(packed.names, zlib.crc32(_HEAD.pack(*head)))
    return zlib.crc32(packed.fields, zlib.crc32(packed.layout, begin))
