"""What the reading thread does: records from an offset on, and how far behind a group is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bufferproxy.database import Connection
from bufferproxy.log.contract import Lag
from bufferproxy.log.sqlite.tables import Edge, Table
from bufferproxy.records import Partition, Record

SCAN_BYTES = 1 << 20
"""Where a scan stops, whatever its limit: what is read lies in memory until it is delivered."""


NOTHING_YET = Lag(0, 0, 0, 0, 0)
"""Of a partition without a record."""


def scan(
    connection: Connection, wanted: Iterable[tuple[Table, int]], limit: int
) -> Mapping[Partition, Sequence[Record]]:
    """In the order of `wanted`; tables that the limits left no room for are not in the answer."""
    found: dict[Partition, Sequence[Record]] = {}
    room = SCAN_BYTES
    for table, offset in wanted:
        if limit <= 0 or room <= 0:
            break
        # Below `start` there may be settled records still: those of a batch with others that are not.
        records: list[Record] = []
        if table.made:
            records, room = table.scan(connection, max(offset, table.start.offset), limit, room)
        found[table.partition] = records
        limit -= len(records)
    return found


def lags(
    connection: Connection, wanted: Mapping[str, tuple[str, Iterable[Table]]]
) -> Mapping[str, Mapping[Partition, Lag]]:
    """By name: those of a group in some tables. One snapshot for all: start, commit and end fit together."""
    connection.execute("BEGIN")
    try:
        return {
            name: {table.partition: _lag(connection, group, table) for table in tables}
            for name, (group, tables) in wanted.items()
        }
    finally:
        connection.execute("COMMIT")


def _lag(connection: Connection, group: str, table: Table) -> Lag:
    if not table.made:
        return NOTHING_YET
    start = Edge(
        *connection.execute("SELECT start, start_total FROM partitions WHERE id = ?", (table.id,)).fetchone()
    )
    end = table.last(connection) or start
    row = connection.execute(
        'SELECT next, marks FROM offsets WHERE "group" = ? AND partition = ?', (group, table.id)
    ).fetchone()
    committed = start
    if row is not None and row[0] > start.offset:
        total = end.total if row[0] == end.offset else table.total_below(connection, row[0])
        committed = Edge(row[0], start.total if total is None else total)
    records, size = table.lag(connection, committed, end)
    lag = Lag(start.offset, committed.offset, end.offset, records, size)
    return lag.without(row[1]) if row is not None and row[0] == committed.offset else lag
