"""From `submit` to a durable row: entries gather while one transaction is synced, and go into the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count, repeat

from bufferproxy.clock import Clock
from bufferproxy.database import Connection
from bufferproxy.errors import AppendRefused, AppendUncertain, LogError
from bufferproxy.log.contract import Done
from bufferproxy.log.sqlite.batches import records
from bufferproxy.log.sqlite.tables import Edge, Table
from bufferproxy.records import Entry, Position, Record

BATCH_ENTRIES = 4096
BATCH_BYTES = 8 << 20
"""What one transaction takes at most; the next one follows at once."""


Pending = tuple[Table, Entry, int, Done]
"""Table, what to append, its size in bytes, and who is to be told."""

_position: Callable[[Iterable[object]], Position] = partial(tuple.__new__, Position)


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
        taken = self.entries[:BATCH_ENTRIES]
        if sum([pending[2] for pending in taken]) > BATCH_BYTES:
            size = 0
            for number, pending in enumerate(taken, 1):
                size += pending[2]
                if size >= BATCH_BYTES:
                    del taken[number:]
                    break
        del self.entries[: len(taken)]
        return taken


class Part:
    """What one transaction appends to one table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.entries: list[Entry] = []
        self.sizes: list[int] = []
        self.dones: list[Done] = []
        self.first = 0
        self.end: Edge = table.tail
        self.at = 0.0

    def run(self, connection: Connection, at: float) -> None:
        self.at = at
        if not self.table.made:
            self.table.make(connection)
        self.first = self.table.tail.offset
        self.end = self.table.append(connection, self.entries, self.sizes, at)

    def tell_positions(self) -> None:
        positions = map(_position, zip(repeat(self.table.partition), count(self.first), strict=False))
        for done, position in zip(self.dones, positions, strict=False):
            done(position)

    def records(self) -> list[Record]:
        keys, values, headers = zip(*self.entries, strict=True)
        return records(self.table.partition, self.first, (keys, values, headers), self.at)


class Batch:
    """What one transaction appends. It takes its entries when its turn has come, not when it is queued."""

    def __init__(self, inbox: Inbox, clock: Clock, stored: Callable[[Batch, LogError | None], None]) -> None:
        self.deferrable = inbox.deferrable
        self.size = 0
        self._parts: dict[Table, Part] | None = None
        self._inbox = inbox
        self._clock = clock
        self._stored = stored

    @property
    def parts(self) -> Sequence[Part]:
        """By table. Asked for the first time, it looks for what waits."""
        if self._parts is None:
            self._parts = {}
            for table, entry, size, done in self._inbox.take():
                part = self._parts.get(table)
                if part is None:
                    part = self._parts[table] = Part(table)
                part.entries.append(entry)
                part.sizes.append(size)
                part.dones.append(done)
            self.size = sum([sum(part.sizes) for part in self._parts.values()])
        return list(self._parts.values())

    def run(self, connection: Connection) -> None:
        now = self._clock.wall()
        for part in self.parts:
            part.run(connection, now)

    def committed(self) -> None:
        for part in self.parts:
            part.table.made = True
            part.table.tail = part.end

    def tell(self, error: LogError | None) -> None:
        parts = self.parts  # refused before its turn: what waits now is what was meant
        self._stored(self, error)
        if error is None:
            for part in parts:
                part.tell_positions()
        else:
            refusal = error if isinstance(error, AppendRefused) else AppendUncertain(str(error))
            for part in parts:
                for done in part.dones:
                    done(refusal)
        self._inbox.send()
