"""Letting go of what `Topic.keep` no longer asks for: a little at a time, on the writer's thread.

1. `committed_by`: when enough has been settled to be worth it, or when nothing else is to be done.
2. `seconds`: looked at once a second.
3. `compact`: a newer record removes the older one of its key in its own transaction (see `appends.py`); what
   is left here are tombstones, which stay a day for whoever reads slowly.
4. Pages that are no longer used are given back to the file system when nothing else is to be done.
"""

from __future__ import annotations

from collections.abc import Mapping

from bufferproxy.clock import Clock
from bufferproxy.database import PAGE, Connection
from bufferproxy.log.sqlite.tables import Table, pack_headers
from bufferproxy.records import Partition

BUDGET = 0.002
"""Seconds that one step should take."""
FEWEST, MOST = 32, 8192
"""Bounds of the records removed in one step."""
WORTH_IT = 512
"""Settled records of one partition from which on it is trimmed in others' transactions."""
AGE_CHECK = 1.0
"""Seconds between two looks at what is too old."""
TOMBSTONES = 24 * 3600.0
"""Seconds that a tombstone stays."""
SPARE = 16 << 20
"""Bytes of unused pages that the file keeps for what comes next."""
VACUUM = 32
"""Pages given back between two looks at the clock."""

_NO_HEADERS = pack_headers(())


class Trimmer:
    """The database's upkeep."""

    def __init__(self, tables: Mapping[Partition, Table], clock: Clock) -> None:
        self._tables = tables
        self._behind: set[Table] = set()
        self._clock = clock
        self._chunk = WORTH_IT
        self._eager = False
        self._age_checked = float("-inf")
        self._aged: list[Table] = []
        self._swept: dict[Table, int] = {}
        self._unused = 1  # unknown, so worth a look
        self._trimmed: list[tuple[Table, int, int]] = []

    # --- what the database asks

    def due(self, *, idle: bool) -> bool:
        if self._clock.now() - self._age_checked >= AGE_CHECK:
            self._age_checked = self._clock.now()
            self._aged = [
                t for t in tuple(self._tables.values()) if t.keep.seconds is not None or t.keep.compact
            ]
        idle = idle or self._eager
        least = 1 if idle else WORTH_IT
        return bool(self._aged) or (idle and self._unused > 0) or self._most_settled(least) is not None

    def run(self, connection: Connection) -> None:
        began = self._clock.now()
        self._trimmed.clear()
        table = self._most_settled(1)
        if table is not None:
            self._drop_below(connection, table, min(table.settled, table.start + self._chunk))
            self._adapt(self._clock.now() - began)
        elif self._aged:
            while self._aged and self._clock.now() - began < BUDGET:
                self._let_age(connection, self._aged.pop())
        else:
            self._give_back(connection)

    def committed(self) -> None:
        for table, start, total in self._trimmed:
            table.start, table.start_total = start, total
            if start >= table.settled:
                self._behind.discard(table)
            if start < table.settled:  # also when the loop has just moved it
                self._behind.add(table)
        self._trimmed.clear()

    # --- what the log tells it, on the loop

    def settled(self, table: Table, offset: int) -> None:
        """The group that the topic is kept for has durably committed `offset`."""
        table.settled = max(table.settled, offset)
        self._behind.add(table)

    def hurry(self, *, eager: bool) -> None:
        """While eager, everything is worth it at once. Begins with a look at what is too old."""
        self._eager = eager
        self._age_checked = float("-inf")

    # --- what it does

    def _most_settled(self, least: int) -> Table | None:
        """The partition with the most settled records, at least so many."""
        # A copy, made in one step: the loop adds to the set meanwhile.
        behind = [table for table in tuple(self._behind) if table.settled - table.start >= least]
        return max(behind, key=lambda table: table.settled - table.start, default=None)

    def _drop_below(self, connection: Connection, table: Table, offset: int) -> None:
        if offset <= table.start:
            return
        (total,) = connection.execute(
            f"SELECT max(total) FROM (SELECT total FROM records_{table.id} WHERE offset < ?"  # noqa: S608
            " ORDER BY offset DESC LIMIT 1)",
            (offset,),
        ).fetchone()
        total = table.start_total if total is None else total
        connection.execute(f"DELETE FROM records_{table.id} WHERE offset < ?", (offset,))  # noqa: S608
        connection.execute(
            "UPDATE partitions SET start = ?, start_total = ? WHERE id = ?", (offset, total, table.id)
        )
        self._trimmed.append((table, offset, total))
        self._unused = 1

    def _adapt(self, took: float) -> None:
        """Large records take longer to remove than small ones."""
        if took > BUDGET:
            self._chunk = max(FEWEST, self._chunk // 2)
        elif took < BUDGET / 4:
            self._chunk = min(MOST, self._chunk * 2)

    def _let_age(self, connection: Connection, table: Table) -> None:
        if table.keep.seconds is not None and table.start < table.tail:
            too_old = self._clock.wall() - table.keep.seconds
            offset = self._first_kept(connection, table, too_old)
            if offset > table.start:
                self._drop_below(connection, table, offset)
                self._aged.append(table)  # and again in the next step, until nothing is too old
                return
        if table.keep.compact:
            self._sweep_tombstones(connection, table)

    def _first_kept(self, connection: Connection, table: Table, too_old: float) -> int:
        """Where the first record lies that is young enough; at most a chunk further than the oldest."""
        oldest = connection.execute(
            f"SELECT appended_at FROM records_{table.id} ORDER BY offset LIMIT 1"  # noqa: S608
        ).fetchone()
        if oldest is None or oldest[0] >= too_old:
            return table.start
        chunk = f"(SELECT * FROM records_{table.id} ORDER BY offset LIMIT ?)"  # noqa: S608
        young, last = connection.execute(
            f"SELECT min(CASE WHEN appended_at >= ? THEN offset END), max(offset) FROM {chunk}",  # noqa: S608
            (too_old, self._chunk),
        ).fetchone()
        return int(last) + 1 if young is None else int(young)

    def _sweep_tombstones(self, connection: Connection, table: Table) -> None:
        """One chunk after the other, round and round. The last record stays: it tells where the end is."""
        begin = self._swept.get(table, table.start)
        end = min(begin + self._chunk, table.tail - 1)
        connection.execute(
            f"DELETE FROM records_{table.id} WHERE offset >= ? AND offset < ?"  # noqa: S608
            " AND length(value) = 0 AND headers = ? AND appended_at < ?",
            (begin, end, _NO_HEADERS, self._clock.wall() - TOMBSTONES),
        )
        self._swept[table] = end if end < table.tail - 1 else table.start

    def _give_back(self, connection: Connection) -> None:
        began = self._clock.now()
        while self._clock.now() - began < BUDGET:
            (pages,) = connection.execute("PRAGMA freelist_count").fetchone()
            self._unused = max(0, pages - SPARE // PAGE)
            for _ in range(min(self._unused, VACUUM)):
                # One page a call: Python's module does not step further through what has no columns.
                connection.execute("PRAGMA incremental_vacuum(1)")
            if not self._unused:
                break
