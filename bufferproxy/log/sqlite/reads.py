"""What the reading thread does: records from an offset on, and how far behind a group is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bufferproxy.database import Connection
from bufferproxy.log.contract import Lag
from bufferproxy.log.sqlite.tables import Table, record_of
from bufferproxy.records import Partition, Record

SCAN_BYTES = 4 << 20
"""Where a scan stops, whatever its limit: what is read lies in memory until it is delivered."""


def scan(
    connection: Connection, wanted: Iterable[tuple[Table, int]], limit: int
) -> Mapping[Partition, Sequence[Record]]:
    """In the order of `wanted`; tables that the limits left no room for are not in the answer."""
    found: dict[Partition, Sequence[Record]] = {}
    room = SCAN_BYTES
    for table, offset in wanted:
        if limit <= 0 or room <= 0:
            break
        records: list[Record] = []
        cursor = connection.execute(table.select, (offset, limit))
        for row in cursor:
            records.append(record_of(table.partition, row))
            room -= len(row[5])
            if room <= 0:
                break
        cursor.close()  # else its snapshot would hold up the write-ahead log
        found[table.partition] = records
        limit -= len(records)
    return found


def lag(connection: Connection, group: str, tables: Iterable[Table]) -> Mapping[Partition, Lag]:
    """One snapshot for all, so that start, commit and end belong together."""
    connection.execute("BEGIN")
    try:
        return {table.partition: _lag(connection, group, table) for table in tables}
    finally:
        connection.execute("COMMIT")


def _lag(connection: Connection, group: str, table: Table) -> Lag:
    start, start_total = connection.execute(
        "SELECT start, start_total FROM partitions WHERE id = ?", (table.id,)
    ).fetchone()
    last = connection.execute(
        f"SELECT offset + 1, total FROM records_{table.id} ORDER BY offset DESC LIMIT 1"  # noqa: S608
    ).fetchone()
    end, total = last or (start, start_total)
    row = connection.execute(
        'SELECT next FROM offsets WHERE "group" = ? AND partition = ?', (group, table.id)
    ).fetchone()
    committed = max(row[0], start) if row else start
    if table.keep.compact:  # with holes, so they have to be counted
        records, size = connection.execute(
            f"SELECT count(*), coalesce(sum(length(value)), 0) FROM records_{table.id}"  # noqa: S608
            " WHERE offset >= ?",
            (committed,),
        ).fetchone()
        return Lag(start, committed, end, records, size)
    settled = start_total if committed == start else _total_below(connection, table, committed)
    return Lag(start, committed, end, end - committed, total - settled)


def _total_below(connection: Connection, table: Table, offset: int) -> int:
    (total,) = connection.execute(
        f"SELECT total FROM records_{table.id} WHERE offset = ?",  # noqa: S608
        (offset - 1,),
    ).fetchone()
    return int(total)
