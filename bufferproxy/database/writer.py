"""The thread that writes: takes what has queued, commits it together, tells who is waiting."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NoReturn, Protocol

from bufferproxy.database.file import PAGE, WAL_CAP, Connection, DatabaseError, Room, is_full

if TYPE_CHECKING:
    from bufferproxy.errors import LogError

Fatal = Callable[[BaseException], None]

CHECKPOINT = 8 << 20
"""Bytes in the write-ahead log after which it is copied into the file."""
PAUSE = 0.1
"""Seconds without work after which upkeep gets transactions of its own."""
IDLE = 1.0
"""Seconds without work after which upkeep is asked again whether something is due."""

logger = logging.getLogger(__name__)


class Work(Protocol):
    """Part of a transaction. `run` may be called again when its first transaction was rolled back."""

    deferrable: bool
    """Refused with StorageFull when less than the reserve is free."""
    size: int
    """About how many bytes it writes; known after `run`."""

    def run(self, connection: Connection) -> None:
        """On the writer's thread, within the transaction."""
        ...

    def committed(self) -> None:
        """On the writer's thread, when the transaction is durable and before the next one begins."""
        ...

    def tell(self, error: LogError | None) -> None:
        """On the loop, once: None when durable, StorageFull when certainly not, else LogUnavailable."""
        ...


class Upkeep(Protocol):
    """Small regular work of the writer, done along with others' transactions or when there are none."""

    def due(self, *, idle: bool) -> bool: ...

    def run(self, connection: Connection) -> None:
        """A few milliseconds at most."""
        ...

    def committed(self) -> None: ...


GATHER = 0.002
"""Seconds between the beginnings of two transactions, at least. A lone work does not wait, for nothing went
before it; many that follow each other share a sync, and the change of threads that goes with it."""


class NoUpkeep:
    def due(self, *, idle: bool) -> bool:
        return False

    def run(self, connection: Connection) -> None: ...

    def committed(self) -> None: ...


def end_process(error: BaseException) -> NoReturn:
    """The default `fatal`: nothing is flushed, for nothing can be trusted; the next start recovers."""
    logger.critical("the log's storage failed, ending the process: %s", error)
    logging.shutdown()
    os._exit(70)


Report = Callable[[Sequence[Work], AbstractSet[int]], None]
"""A transaction was decided: its works, and the `id`s of those that are durable."""


class Writer:
    """`run` is the thread. Works come by `queue`; None ends it."""

    def __init__(
        self, connection: Connection, room: Room, upkeep: Upkeep, fatal: Fatal, report: Report
    ) -> None:
        self.queue: SimpleQueue[Work | None] = SimpleQueue()
        self.dead: Exception | None = None
        self._connection = connection
        self._room = room
        self._upkeep = upkeep
        self._fatal = fatal
        self._report = report
        self.short = False
        """At the last look no more than the reserve was free."""
        self._written = 0
        self._idle = False
        self._began = -GATHER
        self._pause = threading.Event()
        """Never set: to wait is all that it is for."""

    def run(self) -> None:
        closing = False
        while not closing:
            batch, closing = self._next_batch()
            self._began = self._room.now()
            committed = [] if self.dead else self._commit(batch)
            if batch:
                self._report(batch, {id(work) for work in committed})
            if self._written >= CHECKPOINT:
                self._guard(self._checkpoint)
        self._guard(self._close)

    def _next_batch(self) -> tuple[list[Work], bool]:
        """What has queued; empty when it is time for upkeep only. The flag: there will be no more."""
        due = self.dead is None and self._upkeep.due(idle=True)
        try:
            work = self.queue.get(timeout=(0 if self._idle else PAUSE) if due else IDLE)
        except Empty:
            self._idle = True
            return [], False
        self._idle = False
        early = self._began + GATHER - self._room.now()
        if early > 0:
            self._pause.wait(early)
        batch: list[Work] = []
        while work is not None:
            batch.append(work)
            try:
                work = self.queue.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _commit(self, batch: Sequence[Work]) -> Sequence[Work]:
        """Commits as much as there is room for. Returns what was committed."""
        urgent = [work for work in batch if not work.deferrable]
        upkeep = self._upkeep.due(idle=self._idle)
        short = self._is_short()
        if self.dead:
            return []
        # What the disk has no room for: first upkeep goes overboard, then what may wait.
        plans = [(batch, upkeep), (batch, False), (urgent, False)]
        if short and len(urgent) < len(batch):
            plans = [(urgent, upkeep), (urgent, False)]
        for works, kept_up in plans:
            if not works and not kept_up:
                continue
            try:
                self._transaction(works, kept_up=kept_up)
            except Exception as error:  # noqa: BLE001 - whatever it is, what is on the disk is in doubt
                if not is_full(error):
                    self.die(error)
                    return []
                self._roll_back()
            else:
                return works
        return []

    def _is_short(self) -> bool:
        try:
            self.short = self._room.is_short(self._connection, self._cut)
        except (OSError, DatabaseError) as error:
            if not is_full(error):
                self.die(error)
            self.short = True
        return self.short

    def _transaction(self, works: Sequence[Work], *, kept_up: bool) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for work in works:
            work.run(self._connection)
        if kept_up:
            self._upkeep.run(self._connection)
        self._connection.execute("COMMIT")
        written = sum([work.size for work in works]) + (64 if kept_up else 2) * PAGE
        self._written += written
        self._room.wrote(written)
        for work in works:
            work.committed()
        if kept_up:
            self._upkeep.committed()

    def _roll_back(self) -> None:
        if self._connection.in_transaction:  # SQLite may have done it by itself
            self._guard(lambda: self._connection.execute("ROLLBACK"))

    def _checkpoint(self) -> None:
        """Explicitly, for SQLite keeps the errors of its automatic checkpoints to itself."""
        self._written = 0
        _, pages, _ = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if pages * PAGE > WAL_CAP:  # somebody was always reading: wait for them, once
            self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()

    def _cut(self) -> None:
        """To no length at all, for else the file keeps the largest that it ever had."""
        self._written = 0
        self._guard(lambda: self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())

    def _close(self) -> None:
        if self.dead is not None:
            return  # closing would write: leave it to the next start
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            self._connection.close()

    def _guard(self, step: Callable[[], object]) -> None:
        try:
            step()
        except DatabaseError as error:
            if not is_full(error):
                self.die(error)

    def die(self, error: Exception) -> None:
        self.dead = error
        self._fatal(error)

    def __repr__(self) -> str:
        state = "dead" if self.dead else "writing"
        return f"<Writer {state}, {self.queue.qsize()} queued, {self._written} B since the checkpoint>"
