"""Where each dead letter lies, and which ids were opened again: a local SQLite file, rebuildable.

The log can only be read from front to back, and a marker comes long after its letter: a list by scan would
have to read all bodies twice, or hold all keys in memory. Here are some hundred bytes a letter, on disk.

Of each id one row stands, that of the highest `rank`: 4 times the generation, and within it

    0   opened again by this redrive         2   died of it (a live letter), or ended otherwise
    1   ... and waiting for a retry          3   that letter was purged

so it does not matter how often something is told, nor whether a marker of a redrive comes after what the
redrive came to. Losing the file costs a replay of `.dead`; therefore it is not synced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from bufferproxy.database import Connection, Database, Schema
from bufferproxy.records import Letter, Mark, Partition, Position, State
from bufferproxy.results.selection import Selection
from bufferproxy.results.temporary import remove_folder

SCHEMA = Schema(
    application=0x62_70_64_6C,  # "bpdl"
    version=1,
    script="""
        CREATE TABLE places (topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
                             PRIMARY KEY (topic, partition)) WITHOUT ROWID;
        CREATE TABLE letters (service TEXT NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL,
                              rank INTEGER NOT NULL, live INTEGER NOT NULL, topic TEXT, partition INTEGER,
                              "offset" INTEGER, reason TEXT, status INTEGER, path TEXT, key BLOB, state TEXT,
                              attempts INTEGER NOT NULL, accepted_at INTEGER, at INTEGER NOT NULL,
                              due_at INTEGER, expires_at INTEGER, PRIMARY KEY (service, id)) WITHOUT ROWID;
        CREATE INDEX letters_live ON letters (service, seq) WHERE live;
        CREATE INDEX letters_at ON letters (service, at);
        CREATE INDEX letters_seq ON letters (seq);
    """,
    synced=False,
)

OPENED, RETRYING, ENDED, PURGED = range(4)

_MANY = 32
"""Rows in one statement: fewer changes between this thread and the loop's."""
_ROW = f"({', '.join('?' * 18)})"
_ON_CONFLICT = """
    ON CONFLICT (service, id) DO UPDATE SET
        seq = excluded.seq, rank = excluded.rank, live = excluded.live, topic = excluded.topic,
        partition = excluded.partition, "offset" = excluded."offset", reason = excluded.reason,
        status = excluded.status, path = excluded.path, key = excluded.key, state = excluded.state,
        attempts = excluded.attempts, accepted_at = coalesce(excluded.accepted_at, accepted_at),
        at = excluded.at, due_at = excluded.due_at, expires_at = excluded.expires_at
    WHERE excluded.rank >= rank
"""
_PUT = f"INSERT INTO letters VALUES {_ROW} {_ON_CONFLICT}"  # noqa: S608 - our own text
_PUT_MANY = f"INSERT INTO letters VALUES {', '.join([_ROW] * _MANY)} {_ON_CONFLICT}"  # noqa: S608
_LETTER = 'seq, id, rank, topic, partition, "offset", reason, status, attempts, accepted_at, at, path, key'


class Reopened(NamedTuple):
    """An id that a redrive opened again. `state`: None until something came of it; then the step or the end
    that was told last. Times in ms since the epoch."""

    generation: int
    open: bool
    state: State | None
    at: int
    accepted_at: int | None
    attempts: int
    due_at: int | None
    expires_at: int | None


class DeadIndex:
    """Calls are carried out in the order they were made."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.folder: Path | None = None
        """Removed at the end: the index is this process's alone."""

    async def offsets(self) -> Mapping[Partition, int]:
        """How far each partition was read."""

        def select(connection: Connection) -> dict[Partition, int]:
            found = connection.execute("SELECT topic, partition, next FROM places")
            return {Partition(topic, number): next_ for topic, number, next_ in found}

        return await self._database.transact(select)

    async def put(self, told: Sequence[tuple[str, Letter | Mark]], offsets: Mapping[Partition, int]) -> None:
        """(service, what was read), in the order of the log, and how far was read. Raises
        StorageFull or LogUnavailable."""

        def insert(connection: Connection) -> None:
            (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM letters").fetchone()
            rows = [_columns(service, last + n, news) for n, (service, news) in enumerate(told, 1)]
            whole = len(rows) // _MANY * _MANY
            for begin in range(0, whole, _MANY):
                connection.execute(_PUT_MANY, list(chain.from_iterable(rows[begin : begin + _MANY])))
            connection.executemany(_PUT, rows[whole:])
            connection.executemany(
                "INSERT INTO places VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET next = excluded.next",
                [(*partition, next_) for partition, next_ in offsets.items()],
            )

        await self._database.transact(insert)

    async def newest(self) -> int:
        """The number of what was read last: letters that die from now on have higher ones."""

        def select(connection: Connection) -> int:
            return int(connection.execute("SELECT coalesce(max(seq), 0) FROM letters").fetchone()[0])

        return await self._database.transact(select)

    async def count(self, service: str, wanted: Selection) -> int:
        where, values = _where(service, wanted)
        statement = f"SELECT count(*) FROM letters WHERE {where}"  # noqa: S608 - values are bound

        def select(connection: Connection) -> int:
            return int(connection.execute(statement, values).fetchone()[0])

        return await self._database.transact(select)

    async def page(
        self, service: str, wanted: Selection, limit: int, *, after: int = 0, until: int = 1 << 62
    ) -> Sequence[tuple[int, Letter]]:
        """The oldest letters with a number above `after`, up to `until`; each with its number."""
        where, values = _where(service, wanted)
        statement = (
            f"SELECT {_LETTER} FROM letters WHERE {where}"  # noqa: S608 - values are bound
            " AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
        )

        def select(connection: Connection) -> list[tuple[int, Letter]]:
            found = connection.execute(statement, (*values, after, until, limit)).fetchall()
            return [(row[0], _letter(row)) for row in found]

        return await self._database.transact(select)

    async def reopened(self, service: str, id_: str) -> Reopened | None:
        """None for an id that was never redriven."""
        statement = (
            "SELECT rank, state, at, accepted_at, attempts, due_at, expires_at FROM letters"
            " WHERE service = ? AND id = ? AND rank >= 4"
        )

        def select(connection: Connection) -> Reopened | None:
            found = connection.execute(statement, (service, id_)).fetchone()
            if found is None:
                return None
            rank, state, *rest = found
            return Reopened(rank // 4, rank % 4 < ENDED, None if state is None else State(state), *rest)

        return await self._database.transact(select)

    async def settled(self, service: str, wanted: Collection[tuple[str, int]]) -> frozenset[tuple[str, int]]:
        """Of these (id, generation), those that something came of."""

        def select(connection: Connection) -> frozenset[tuple[str, int]]:
            return frozenset(
                (id_, generation)
                for id_, generation in wanted
                if connection.execute(
                    "SELECT 1 FROM letters WHERE service = ? AND id = ? AND rank > ?",
                    (service, id_, 4 * generation + OPENED),
                ).fetchone()
            )

        return await self._database.transact(select)

    async def forget(self, service: str, before: int) -> None:
        """What died, or was marked, before then (ms)."""
        statement = (
            "DELETE FROM letters WHERE service = ?1 AND id IN"
            " (SELECT id FROM letters WHERE service = ?1 AND at < ?2 LIMIT 2000)"
        )
        while await self._database.transact(
            lambda connection: connection.execute(statement, (service, before)).rowcount
        ):
            pass

    async def close(self) -> None:
        await self._database.close()
        if self.folder is not None:
            await asyncio.to_thread(remove_folder, self.folder)


def _where(service: str, wanted: Selection) -> tuple[str, tuple[object, ...]]:
    terms: list[tuple[str, Iterable[object]]] = [("live AND service = ?", (service,))]
    if wanted.ids is not None:
        terms.append((f"id IN ({', '.join('?' * len(wanted.ids))})", wanted.ids))
    if wanted.reason is not None:
        terms.append(("reason = ?", (wanted.reason,)))
    if wanted.status is not None:
        terms.append(("status BETWEEN ? AND ?", wanted.status))
    if wanted.path is not None:
        prefix = wanted.path + "/"
        terms.append(("(path = ? OR substr(path, 1, ?) = ?)", (wanted.path, len(prefix), prefix)))
    if wanted.key is not None:
        terms.append(("key = ?", (wanted.key,)))
    if wanted.since is not None:
        terms.append(("at >= ?", (wanted.since,)))
    return " AND ".join(term for term, _ in terms), tuple(value for _, values in terms for value in values)


def _letter(row: Sequence[object]) -> Letter:
    _, id_, rank, topic, partition, offset, reason, status, attempts, accepted_at, at, path, key = row
    position = Position(Partition(topic, partition), offset)  # type: ignore[arg-type]
    return Letter(id_, rank // 4, position, reason, status, attempts, accepted_at, at, path, key)  # type: ignore[arg-type, operator]


def _columns(service: str, seq: int, news: Letter | Mark) -> tuple[object, ...]:
    if isinstance(news, Letter):
        id_, generation, (place, offset), reason, status, attempts, accepted_at, died_at, path, key = news
        return (
            *(service, id_, seq, 4 * generation + ENDED, 1, *place, offset, reason, status, path, key),
            *(None, attempts, accepted_at, died_at, None, None),
        )
    rank = 4 * news.generation + _stage(news)
    state = None if news.state is None else news.state.value
    return (
        *(service, news.id, seq, rank, 0, None, None, None, None, None, None, None),
        *(state, news.attempts, news.accepted_at, news.at, news.due_at, news.expires_at),
    )


def _stage(mark: Mark) -> int:
    if mark.purged:
        return PURGED
    if mark.state is None:
        return OPENED
    return ENDED if mark.state.ended else RETRYING
