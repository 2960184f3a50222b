"""The index in a SQLite file. See `index.py` for what it promises, `segments.py` for how ends lie in it, and
`tables.py` for the file."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from bufferproxy.database import Connection, Database
from bufferproxy.errors import AppendRefused, LogError
from bufferproxy.records import Partition, Position
from bufferproxy.results import tables
from bufferproxy.results.index import Ends, Found, Row, standing
from bufferproxy.results.segments import parted, spots_in
from bufferproxy.results.temporary import remove_folder
from bufferproxy.results.unwritten import Packed, Unwritten

WRITE_AFTER = 1.0
"""Seconds that ends and rows are gathered: a transaction costs as much for one of them as for hundreds. Who
asks for one meanwhile is answered from memory; after a crash they are read from the log once more."""

WRITE_AGAIN = 1.0
"""Seconds until what the disk had no room for, or another program kept from being written, is tried again."""


class SqliteIndex:
    """Made by `open`."""

    def __init__(self, database: Database, places: Mapping[Partition, tuple[int, int]]) -> None:
        """`places`: partition -> its number in the file, and how far it was read."""
        self._database = database
        self.folder: Path | None = None
        """Removed at the end: the index is this process's alone."""
        self._offsets = {partition: next_ for partition, (_, next_) in places.items()}
        self._numbers = {partition: number for partition, (number, _) in places.items()}
        self._places = {number: partition for partition, number in self._numbers.items()}
        self._unwritten = Unwritten()
        self._writing: _Put | None = None
        """One at a time: a later one that was written while the disk had no room for this one would tell
        that this one's records were read."""
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False

    @classmethod
    async def open(cls, database: Database) -> SqliteIndex:
        """Raises LogUnavailable or LogUnusable."""
        return cls(database, await database.read(tables.places))

    async def offsets(self) -> Mapping[Partition, int]:
        return self._offsets

    def put(self, rows: Sequence[Row], ends: Sequence[Ends], offsets: Mapping[Partition, int]) -> None:
        for row in rows:
            self._unwritten.add_row(row)
        for partition, keys, found, newest in ends:
            self._unwritten.add_ends(keys, spots_in(self._number(partition), found), newest)
        self._unwritten.reach(offsets)
        self._plan()

    def _plan(self) -> None:
        if self._writing is not None or self._closing:
            return  # what is being written plans the next one
        if len(self._unwritten) >= tables.FULL:
            self._write()
        elif self._timer is None and not self._unwritten.empty:
            self._timer = asyncio.get_running_loop().call_later(WRITE_AFTER, self._write)

    def _write(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is None and not self._unwritten.empty:
            packed, self._unwritten = self._unwritten.pack(), Unwritten()
            places = {
                partition: (self._number(partition), next_) for partition, next_ in packed.offsets.items()
            }
            self._writing = _Put(self, packed, places)
        if self._writing is not None and self._writing.told.is_set():
            self._writing.told.clear()
            self._database.write(self._writing)

    def written(self, error: LogError | None) -> None:
        """Told by what was being written."""
        if error is None:
            self._writing = None
            self._plan()
        elif isinstance(error, AppendRefused) and not self._closing:
            self._timer = asyncio.get_running_loop().call_later(WRITE_AGAIN, self._write)

    async def find(self, id_: str) -> Found:
        key = id_.encode()
        rows: list[Row | None] = [self._unwritten.row(id_)]
        spots = self._unwritten.spots(key)
        if self._writing is not None:
            rows.append(self._writing.packed.row(id_))
            spots += self._writing.packed.spots(key)
        row, written = await self._database.read(lambda connection: tables.look_up(connection, id_, key))
        for newer in reversed(rows):
            if newer is not None:
                row = standing(row, newer)
        # An end's partition follows from its id, so that the larger offset is the newer one.
        return Found(row, [self._position(spot) for spot in sorted({*spots, *written}, reverse=True)])

    async def forget(self, ended_before: int) -> None:
        self._write()
        while await self._database.transact(lambda connection: tables.forget(connection, ended_before)):
            pass

    async def close(self) -> None:
        if self._writing is not None:
            await self._writing.told.wait()
        self._closing = True
        self._write()  # nothing of it, when the disk is full: it is read from the log again
        await self._database.close()
        if self.folder is not None:
            await asyncio.to_thread(remove_folder, self.folder)

    def _number(self, partition: Partition) -> int:
        number = self._numbers.get(partition)
        if number is None:
            number = max(self._places, default=0) + 1
            self._numbers[partition] = number
            self._places[number] = partition
        return number

    def _position(self, spot: int) -> Position:
        place, offset = parted(spot)
        return Position(self._places[place], offset)

    def __repr__(self) -> str:
        return f"<SqliteIndex {self._unwritten!r} {self._database!r}>"


class _Put:
    """What was gathered, on its way into the file."""

    deferrable = False

    def __init__(
        self, index: SqliteIndex, packed: Packed, places: Mapping[Partition, tuple[int, int]]
    ) -> None:
        self.packed = packed
        self.told = asyncio.Event()
        """Not set while the database has it."""
        self.told.set()
        self.size = tables.size_of(packed)
        self._index = index
        self._places = places

    def run(self, connection: Connection) -> None:
        tables.reach(connection, self._places)
        tables.put_rows(connection, self.packed.rows.values())
        if self.packed.segment is not None:
            tables.put_segment(connection, self.packed.segment)

    def committed(self) -> None:
        pass

    def tell(self, error: LogError | None) -> None:
        self.told.set()
        self._index.written(error)
