"""From `submit` to a durable row: entries gather while one transaction is synced, and go into the next."""

from __future__ import annotations

from collections.abc import Callable

from bufferproxy.clock import Clock
from bufferproxy.database import Connection
from bufferproxy.errors import AppendRefused, AppendUncertain, LogError, StorageFull
from bufferproxy.log.contract import Appended, Done
from bufferproxy.log.sqlite.tables import Row, Table, checksum, insert_rows
from bufferproxy.records import Entry, Position, Record

BATCH_ENTRIES = 4096
BATCH_BYTES = 8 << 20
"""What one transaction takes at most; the next one follows at once."""


Pending = tuple[Table, Entry, bytes, int, Done]
"""Table, what to append, its headers packed, its size in bytes, and who is to be told."""


class Inbox:
    """Entries that wait for a transaction; those of topics that may be refused earlier have their own."""

    def __init__(
        self,
        clock: Clock,
        write: Callable[[Batch], None],
        stored: Callable[[Batch, LogError | None], None],
        *,
        deferrable: bool,
    ) -> None:
        """`write` queues a batch; `stored` hears on the loop that one was decided."""
        self.deferrable = deferrable
        self.entries: list[Pending] = []
        self.busy = False
        """A batch is on its way that has not looked into `entries` yet."""
        self._clock = clock
        self._write = write
        self._stored = stored

    def send(self) -> None:
        """Something was added: see that it is fetched."""
        if self.entries and not self.busy:
            self.busy = True
            self._write(Batch(self, self._clock, self._stored))

    def take(self) -> list[Pending]:
        """What the next transaction holds. On the writer's thread, while the loop adds to the end."""
        self.busy = False
        count = size = 0
        for entry in self.entries[:BATCH_ENTRIES]:
            count += 1
            size += entry[3]
            if size >= BATCH_BYTES:
                break
        taken = self.entries[:count]
        del self.entries[:count]
        return taken


class Batch:
    """What one transaction appends. It takes its entries when its turn has come, not when it is queued."""

    def __init__(self, inbox: Inbox, clock: Clock, stored: Callable[[Batch, LogError | None], None]) -> None:
        self.deferrable = inbox.deferrable
        self.size = 0
        self.entries: list[Pending] | None = None
        self.firsts: dict[Table, int] = {}
        self._tails: dict[Table, tuple[int, int]] = {}
        self._inbox = inbox
        self._clock = clock
        self._stored = stored
        self._at = 0.0

    def run(self, connection: Connection) -> None:
        if self.entries is None:
            self.entries = self._inbox.take()
            self.size = sum([entry[3] for entry in self.entries])
        for table, rows in self._rows(self.entries).items():
            insert_rows(connection, table, rows)
            if table.keep.compact:
                newest = {row[4]: row[0] for row in rows if row[4] is not None}
                connection.executemany(table.supersede, newest.items())

    def _rows(self, entries: list[Pending]) -> dict[Table, list[Row]]:
        now = self._at = self._clock.wall()
        tables: dict[Table, list[Row]] = {}
        totals: dict[Table, int] = {}
        for table, (key, value, _), headers, _, _ in entries:
            rows = tables.get(table)
            if rows is None:
                rows = tables[table] = []
                totals[table] = table.tail_total
            offset = table.tail + len(rows)
            totals[table] = total = totals[table] + len(value)
            rows.append((offset, now, total, checksum(offset, key, headers, value), key, headers, value))
        self.firsts = {table: table.tail for table in tables}
        self._tails = {table: (rows[-1][0] + 1, totals[table]) for table, rows in tables.items()}
        return tables

    def committed(self) -> None:
        for table, (tail, total) in self._tails.items():
            table.tail, table.tail_total = tail, total

    def tell(self, error: LogError | None) -> None:
        if self.entries is None:  # refused before its turn: what waits now is what was meant
            self.entries = self._inbox.take()
            self.size = sum([entry[3] for entry in self.entries])
        self._stored(self, error)
        if error is None:
            self._tell_positions()
        else:
            refusal: Appended = (
                StorageFull(str(error)) if isinstance(error, StorageFull) else AppendUncertain(str(error))
            )
            for *_, done in self.entries:
                done(refusal)
        self._inbox.send()

    def _tell_positions(self) -> None:
        next_ = dict(self.firsts)
        for table, _, _, _, done in self.entries or ():
            offset = next_[table]
            next_[table] = offset + 1
            done(Position(table.partition, offset))

    def records(self) -> dict[Table, list[Record]]:
        """What is durable now, of tables that somebody follows."""
        found: dict[Table, list[Record]] = {table: [] for table in self.firsts if table.recent.followed}
        if not found:
            return found
        next_ = dict(self.firsts)
        for table, (key, value, headers), _, _, _ in self.entries or ():
            offset = next_[table]
            next_[table] = offset + 1
            if table in found:
                found[table].append(Record(table.partition, offset, key, value, headers, self._at))
        return found

    @property
    def ends(self) -> dict[Table, int]:
        """Where the touched tables end with this batch."""
        return {table: tail for table, (tail, _) in self._tails.items()}


def closed() -> AppendRefused:
    return AppendRefused("the log is closed")
