"""The tables of the index, and the statements on them: all that knows SQL here.

Statements are few and large: each one changes threads with the loop (see `log/sqlite/tables.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from bufferproxy.database import PAGE, Connection, Schema
from bufferproxy.records import ENDS, Partition, State
from bufferproxy.results.index import Row
from bufferproxy.results.segments import TOKEN, Segment, block_of, spots_of
from bufferproxy.results.unwritten import Packed

FULL = 2000
"""Ends in one segment. Packing them holds the loop up for a third of a millisecond."""

SCHEMA = Schema(
    application=0x62_70_69_78,  # "bpix"
    version=2,
    script="""
        CREATE TABLE places (number INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL,
                             next INTEGER NOT NULL, UNIQUE (topic, partition));
        CREATE TABLE rows (id TEXT PRIMARY KEY, state TEXT NOT NULL, at INTEGER NOT NULL,
                           accepted_at INTEGER NOT NULL, attempts INTEGER NOT NULL, error TEXT,
                           due_at INTEGER, expires_at INTEGER, ended INTEGER) WITHOUT ROWID;
        CREATE INDEX rows_ended ON rows (ended) WHERE ended IS NOT NULL;
        CREATE TABLE segments (number INTEGER PRIMARY KEY, newest INTEGER NOT NULL,
                               tokens BLOB NOT NULL, spots BLOB NOT NULL);
        CREATE INDEX segments_newest ON segments (newest);
        CREATE TABLE blocks (block BLOB NOT NULL, segment INTEGER NOT NULL,
                             PRIMARY KEY (block, segment)) WITHOUT ROWID;
        CREATE INDEX blocks_segment ON blocks (segment);
    """,
    synced=False,
)

_MANY = 32
"""Rows in one statement."""

_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ON_CONFLICT = """
    ON CONFLICT (id) DO UPDATE SET
        state = excluded.state, at = excluded.at, accepted_at = excluded.accepted_at,
        attempts = excluded.attempts, error = excluded.error, due_at = excluded.due_at,
        expires_at = excluded.expires_at, ended = excluded.ended
    WHERE rows.ended IS NULL OR excluded.ended IS NOT NULL
"""
_PUT = f"INSERT INTO rows VALUES {_ROW} {_ON_CONFLICT}"  # noqa: S608 - our own text
_PUT_MANY = f"INSERT INTO rows VALUES {', '.join([_ROW] * _MANY)} {_ON_CONFLICT}"  # noqa: S608
_BLOCK = "INSERT OR IGNORE INTO blocks VALUES (?, ?)"
_BLOCK_MANY = f"INSERT OR IGNORE INTO blocks VALUES {', '.join(['(?, ?)'] * _MANY)}"  # noqa: S608

Places = Mapping[Partition, tuple[int, int]]
"""Partition -> its number here, and how far it was read."""


def places(connection: Connection) -> Places:
    found = connection.execute("SELECT topic, partition, number, next FROM places")
    return {Partition(topic, partition): (number, next_) for topic, partition, number, next_ in found}


def reach(connection: Connection, reached: Places) -> None:
    connection.executemany(
        "INSERT INTO places (topic, partition, number, next) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next",
        [(*partition, number, next_) for partition, (number, next_) in reached.items()],
    )


def put_rows(connection: Connection, rows: Iterable[Row]) -> None:
    _execute(connection, [_columns(row) for row in rows], _PUT, _PUT_MANY)


def put_segment(connection: Connection, segment: Segment) -> None:
    """Into the newest one while there is room: a quiet service would have a segment for each of its ends."""
    last = connection.execute(
        "SELECT number, newest, tokens, spots FROM segments ORDER BY number DESC LIMIT 1"
    ).fetchone()
    if last is not None and len(last[2]) + len(segment.tokens) <= FULL * TOKEN:
        number, newest, tokens, spots = last
        connection.execute(
            "UPDATE segments SET newest = ?, tokens = ?, spots = ? WHERE number = ?",
            (max(newest, segment.newest), tokens + segment.tokens, spots + segment.spots, number),
        )
    else:
        number = 1 if last is None else last[0] + 1
        connection.execute(
            "INSERT INTO segments VALUES (?, ?, ?, ?)",
            (number, segment.newest, segment.tokens, segment.spots),
        )
    _execute(connection, [(block, number) for block in sorted(segment.blocks)], _BLOCK, _BLOCK_MANY)


def look_up(connection: Connection, id_: str, key: bytes) -> tuple[Row | None, list[int]]:
    row = connection.execute(
        "SELECT state, at, accepted_at, attempts, error, due_at, expires_at FROM rows WHERE id = ?", (id_,)
    ).fetchone()
    segments = connection.execute(
        "SELECT tokens, spots FROM blocks JOIN segments ON number = segment WHERE block = ?",
        (block_of(key),),
    )
    spots = [spot for tokens, all_ in segments for spot in spots_of(key, tokens, all_)]
    if row is None:
        return None, spots
    state, at, accepted_at, attempts, error, due_at, expires_at = row
    return Row(id_, State(state), at, accepted_at, attempts, None, error, due_at, expires_at), spots


def forget(connection: Connection, ended_before: int) -> int:
    """A part of it. Returns how many rows and segments: more than none, call again."""
    rows = connection.execute(
        "DELETE FROM rows WHERE id IN (SELECT id FROM rows WHERE ended < ? LIMIT 2000)", (ended_before,)
    ).rowcount
    old = connection.execute(
        "SELECT number FROM segments WHERE newest < ? LIMIT 20", (ended_before,)
    ).fetchall()
    connection.executemany("DELETE FROM blocks WHERE segment = ?", old)
    connection.executemany("DELETE FROM segments WHERE number = ?", old)
    return int(rows) + len(old)


def size_of(packed: Packed) -> int:
    """About how many bytes are written for it."""
    segment = packed.segment
    ends = 0 if segment is None else len(segment.tokens) + len(segment.spots) + 100 * len(segment.blocks)
    return 2 * PAGE + ends + 200 * len(packed.rows)


def _execute(connection: Connection, rows: Sequence[tuple[object, ...]], one: str, many: str) -> None:
    whole = len(rows) // _MANY * _MANY
    for begin in range(0, whole, _MANY):
        connection.execute(many, list(chain.from_iterable(rows[begin : begin + _MANY])))
    connection.executemany(one, rows[whole:])


def _columns(row: Row) -> tuple[object, ...]:
    return (
        row.id,
        row.state.value,
        row.at,
        row.accepted_at,
        row.attempts,
        row.error,
        row.due_at,
        row.expires_at,
        row.at if row.state in ENDS else None,
    )
