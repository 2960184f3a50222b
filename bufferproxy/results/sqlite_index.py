"""The index in a SQLite file. See `index.py` for what it promises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from bufferproxy.database import Connection, Database, Schema
from bufferproxy.errors import LogError, StorageFull
from bufferproxy.records import ENDS, Partition, Position, State
from bufferproxy.results.index import Row

SCHEMA = Schema(
    application=0x62_70_69_78,  # "bpix"
    version=1,
    script="""
        CREATE TABLE places (number INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL,
                             next INTEGER NOT NULL, UNIQUE (topic, partition));
        CREATE TABLE rows (id TEXT PRIMARY KEY, state TEXT NOT NULL, at INTEGER NOT NULL,
                           accepted_at INTEGER NOT NULL, attempts INTEGER NOT NULL, place INTEGER,
                           reply INTEGER, error TEXT, due_at INTEGER, expires_at INTEGER, ended INTEGER)
                           WITHOUT ROWID;
        CREATE INDEX rows_ended ON rows (ended) WHERE ended IS NOT NULL;
    """,
    synced=False,
)

WRITE_AFTER = 0.25
"""Seconds that rows are gathered: written one batch of the view at a time they would cost as much as the
results themselves. Who asks for one of them has them written at once."""

WRITE_AT = 4000
"""Rows that are written without waiting for more."""

_MANY = 32
"""Rows in one statement: fewer changes between this thread and the loop's (see `log/sqlite/tables.py`)."""

_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ON_CONFLICT = """
    ON CONFLICT (id) DO UPDATE SET
        state = excluded.state, at = excluded.at, attempts = excluded.attempts,
        place = coalesce(excluded.place, place), reply = coalesce(excluded.reply, reply),
        error = CASE WHEN rows.ended IS NULL THEN excluded.error ELSE coalesce(excluded.error, error) END,
        due_at = excluded.due_at, ended = excluded.ended
    WHERE rows.ended IS NULL OR excluded.ended IS NOT NULL
"""
_PUT = f"INSERT INTO rows VALUES {_ROW} {_ON_CONFLICT}"  # noqa: S608 - our own text
_PUT_MANY = f"INSERT INTO rows VALUES {', '.join([_ROW] * _MANY)} {_ON_CONFLICT}"  # noqa: S608
_FORGET = "DELETE FROM rows WHERE id IN (SELECT id FROM rows WHERE ended < ? LIMIT 2000)"


class SqliteIndex:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows: list[Row] = []
        self._offsets: dict[Partition, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def offsets(self) -> Mapping[Partition, int]:
        def select(connection: Connection) -> dict[Partition, int]:
            found = connection.execute("SELECT topic, partition, next FROM places")
            return {Partition(topic, number): next_ for topic, number, next_ in found}

        return await self._database.transact(select)

    def put(self, rows: Sequence[Row], offsets: Mapping[Partition, int]) -> None:
        self._rows.extend(rows)
        self._offsets.update(offsets)
        if len(self._rows) >= WRITE_AT:
            self._write()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_AFTER, self._write)

    def _write(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._offsets:
            self._database.write(_Put(self._rows, self._offsets, self._again))
            self._rows, self._offsets = [], {}

    def _again(self, rows: Sequence[Row], offsets: Mapping[Partition, int]) -> None:
        """They could not be written: with the next ones, then."""
        self._rows[:0] = rows
        self._offsets = {**offsets, **self._offsets}
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(1.0, self._write)

    async def find(self, id_: str) -> Row | None:
        def select(connection: Connection) -> Row | None:
            found = connection.execute(
                "SELECT state, at, accepted_at, attempts, topic, partition, reply, error, due_at, expires_at"
                " FROM rows LEFT JOIN places ON number = place WHERE id = ?",
                (id_,),
            ).fetchone()
            if found is None:
                return None
            state, at, accepted_at, attempts, topic, partition, reply, error, due_at, expires_at = found
            position = None if reply is None else Position(Partition(topic, partition), reply)
            return Row(id_, State(state), at, accepted_at, attempts, position, error, due_at, expires_at)

        # With the writes, in their order: what was put before is found.
        self._write()
        return await self._database.transact(select)

    async def forget(self, ended_before: int) -> None:
        while await self._database.transact(
            lambda connection: connection.execute(_FORGET, (ended_before,)).rowcount
        ):
            pass

    async def close(self) -> None:
        self._write()
        await self._database.close()


class _Put:
    """Some batches of the view, and how far it has read with them."""

    deferrable = False

    def __init__(
        self,
        rows: Sequence[Row],
        offsets: Mapping[Partition, int],
        failed: Callable[[Sequence[Row], Mapping[Partition, int]], None],
    ) -> None:
        self._rows = rows
        self._offsets = offsets
        self._failed = failed
        self.size = 200 * len(rows)

    def run(self, connection: Connection) -> None:
        connection.executemany(
            "INSERT INTO places (topic, partition, next) VALUES (?, ?, ?)"
            " ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next",
            [(*partition, next_) for partition, next_ in self._offsets.items()],
        )
        found = connection.execute("SELECT topic, partition, number FROM places").fetchall()
        places = {Partition(topic, partition): number for topic, partition, number in found}
        columns = [_columns(row, places) for row in self._rows]
        many = len(columns) // _MANY * _MANY
        for begin in range(0, many, _MANY):
            connection.execute(_PUT_MANY, list(chain.from_iterable(columns[begin : begin + _MANY])))
        connection.executemany(_PUT, columns[many:])

    def committed(self) -> None:
        pass

    def tell(self, error: LogError | None) -> None:
        if isinstance(error, StorageFull):
            self._failed(self._rows, self._offsets)


def _columns(row: Row, places: Mapping[Partition, int]) -> tuple[object, ...]:
    place, offset = (None, None) if row.reply is None else (places[row.reply.partition], row.reply.offset)
    return (
        row.id,
        row.state.value,
        row.at,
        row.accepted_at,
        row.attempts,
        place,
        offset,
        row.error,
        row.due_at,
        row.expires_at,
        row.at if row.state in ENDS else None,
    )
