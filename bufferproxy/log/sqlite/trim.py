"""Letting go of what `Topic.keep` no longer asks for: a little at a time, on the writer's thread.

1. `committed_by`: when enough has been settled to be worth it, or when nothing else is to be done.
2. `seconds`: looked at once a second where little time is to be kept, and once a minute elsewhere.
3. `compact`: a newer record removes the older one of its key in its own transaction (see `appends.py`); what
   is left here are tombstones, which stay a day for whoever reads slowly.
4. Pages that are no longer used are given back to the file system when nothing else is to be done.
"""

from __future__ import annotations

from collections.abc import Mapping

from bufferproxy.clock import Clock
from bufferproxy.database import PAGE, Connection
from bufferproxy.log.sqlite.tables import Edge, Table
from bufferproxy.records import Partition

BUDGET = 0.002
"""Seconds that one step should take."""
FEWEST, MOST = 32, 8192
"""Bounds of the records removed in one step."""
WORTH_IT = 512
"""Settled records of one partition from which on it is trimmed in others' transactions."""
AGE_CHECK = 1.0
"""Seconds between two looks at what is too old."""
AGE_CHECK_MOST = 60.0
"""The same for what is kept for long: nobody minds a minute more in an hour."""
TOMBSTONES = 24 * 3600.0
"""Seconds that a tombstone stays."""
SPARE = 16 << 20
"""Bytes of unused pages that the file keeps for what comes next."""
VACUUM = 32
"""Pages given back between two looks at the clock."""


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
        self._age_due: dict[Table, float] = {}
        """When each is looked at again."""
        self._swept: dict[Table, int] = {}
        self._unused = 1  # unknown, so worth a look
        self._trimmed: list[tuple[Table, Edge]] = []

    # --- what the database asks

    def due(self, *, idle: bool) -> bool:
        if self._clock.now() - self._age_checked >= AGE_CHECK:
            self._age_checked = self._clock.now()
            self._aged = [table for table in tuple(self._tables.values()) if self._may_age(table)]
        idle = idle or self._eager
        least = 1 if idle else WORTH_IT
        return bool(self._aged) or (idle and self._unused > 0) or self._most_settled(least) is not None

    def run(self, connection: Connection) -> None:
        began = self._clock.now()
        self._trimmed.clear()
        table = self._most_settled(1)
        if table is not None:
            self._drop_below(connection, table, min(table.settled, table.start.offset + self._chunk))
            self._adapt(self._clock.now() - began)
        elif self._aged:
            while self._aged and self._clock.now() - began < BUDGET:
                self._let_age(connection, self._aged.pop())
        else:
            self._give_back(connection)

    def committed(self) -> None:
        for table, start in self._trimmed:
            table.start = start
            if start.offset >= table.settled:
                self._behind.discard(table)
            if start.offset < table.settled:  # also when the loop has just moved it
                self._behind.add(table)
        self._trimmed.clear()

    # --- what the log tells it, on the loop

    def settled(self, table: Table, offset: int) -> None:
        """The group that the topic is kept for has durably committed `offset`."""
        table.settled = max(table.settled, offset)
        if table.settled > table.start.offset:  # else each transaction would look at all that is at rest
            self._behind.add(table)

    def hurry(self, *, eager: bool) -> None:
        """While eager, everything is worth it at once. Begins with a look at what is too old."""
        self._eager = eager
        self._age_checked = float("-inf")
        self._age_due = {}

    # --- what it does

    def _may_age(self, table: Table) -> bool:
        """It holds something, and was not looked at lately."""
        keep = table.keep.seconds
        if (keep is None and not table.compact) or table.start.offset == table.tail.offset:
            return False
        if self._age_checked < self._age_due.get(table, 0.0):
            return False
        least = TOMBSTONES if keep is None else keep
        self._age_due[table] = self._age_checked + min(AGE_CHECK_MOST, least / 60)
        return True

    def _most_settled(self, least: int) -> Table | None:
        """The partition with the most settled records, at least so many."""
        # A copy, made in one step: the loop adds to the set meanwhile.
        behind = [table for table in tuple(self._behind) if table.settled - table.start.offset >= least]
        return max(behind, key=lambda table: table.settled - table.start.offset, default=None)

    def _drop_below(self, connection: Connection, table: Table, offset: int) -> None:
        if offset <= table.start.offset:
            return
        total = table.total_below(connection, offset)
        start = Edge(offset, table.start.total if total is None else total)
        table.drop_below(connection, offset)
        connection.execute(
            "UPDATE partitions SET start = ?, start_total = ? WHERE id = ?", (*start, table.id)
        )
        self._trimmed.append((table, start))
        self._unused = 1

    def _adapt(self, took: float) -> None:
        """Large records take longer to remove than small ones."""
        if took > BUDGET:
            self._chunk = max(FEWEST, self._chunk // 2)
        elif took < BUDGET / 4:
            self._chunk = min(MOST, self._chunk * 2)

    def _let_age(self, connection: Connection, table: Table) -> None:
        if table.keep.seconds is not None and table.start.offset < table.tail.offset:
            offset = table.first_kept(connection, self._clock.wall() - table.keep.seconds)
            if offset > table.start.offset:
                self._drop_below(connection, table, offset)
                self._aged.append(table)  # and again in the next step, until nothing is too old
                return
        if table.compact:
            self._sweep_tombstones(connection, table)

    def _sweep_tombstones(self, connection: Connection, table: Table) -> None:
        """One chunk after the other, round and round. The last record stays: it tells where the end is."""
        begin = self._swept.get(table, table.start.offset)
        last = table.tail.offset - 1
        end = min(begin + self._chunk, last)
        table.sweep(connection, begin, end, self._clock.wall() - TOMBSTONES)
        self._swept[table] = end if end < last else table.start.offset
        if end < last:
            self._age_due.pop(table, None)  # the next chunk in a second

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
