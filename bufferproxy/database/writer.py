"""The thread that writes: takes what has queued, commits it together, tells who is waiting."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NoReturn, Protocol

from bufferproxy.database import holders
from bufferproxy.database.faults import DatabaseError, is_full, is_locked, may_be_full
from bufferproxy.database.file import PAGE, WAL_CAP, Connection
from bufferproxy.database.filesystem import has_no_room
from bufferproxy.database.overgrown import Overgrown
from bufferproxy.database.room import Room
from bufferproxy.errors import LogError, LogUnavailable, StorageFull, StorageLocked

if TYPE_CHECKING:
    from pathlib import Path

Fatal = Callable[[BaseException], None]

CHECKPOINT = 8 << 20
"""Bytes in the write-ahead log after which it is copied into the file."""
PAUSE = 0.1
"""Seconds without work after which upkeep gets transactions of its own."""
IDLE = 1.0
"""Seconds without work after which upkeep is asked again whether something is due."""
LOCK_RETRY = 0.01
"""Seconds between two tries to begin a transaction while another program has locked the file, ..."""
LOCK_TRIES = 200
"""... how many tries the first transaction waits, ..."""
LOCKED_TRIES = 5
"""... and how many each one after it, until the lock is gone: then callers need not wait to be refused."""
READER_PATIENCE = 1.0
"""Seconds that our own reader is given to end what it reads."""

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
        """On the loop, once: None when durable, StorageFull or StorageLocked when certainly not, else
        LogUnavailable."""
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
    os._exit(1)


Report = Callable[[Sequence[Work], AbstractSet[int], "LogError | None"], None]
"""A transaction was decided: its works, the `id`s of those that are durable, and why the others are not."""


class Writer:
    """`run` is the thread. Works come by `queue`; None ends it."""

    def __init__(
        self, path: Path, connection: Connection, room: Room, upkeep: Upkeep, fatal: Fatal, report: Report
    ) -> None:
        self.queue: SimpleQueue[Work | None] = SimpleQueue()
        self.dead: Exception | None = None
        self.locked = ""
        """Who has locked the file, so that nothing can be written; empty when nobody has."""
        self.reading = threading.Lock()
        """Held by our own reader while it reads."""
        self._path = path
        self._connection = connection
        self.room = room
        self._upkeep = upkeep
        self._fatal = fatal
        self._report = report
        self._written = 0
        self._idle = False
        self._began = -GATHER
        self._pause = threading.Event()
        """Never set: to wait is all that it is for."""
        self._overgrown = Overgrown(path)

    @property
    def overgrown(self) -> str:
        """Who keeps the write-ahead log from beginning anew, in words; empty when nobody does."""
        return self._overgrown.why

    def run(self) -> None:
        closing = False
        while not closing:
            batch, closing = self._next_batch()
            self._began = self.room.now()
            committed, refusal = self._commit(batch)
            if batch:
                self._report(batch, {id(work) for work in committed}, refusal)
            if self._written >= CHECKPOINT or self._overgrown.due(self._began):
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
        early = self._began + GATHER - self.room.now()
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

    def _commit(self, batch: Sequence[Work]) -> tuple[Sequence[Work], LogError | None]:
        """Commits as much as there is room for. Returns what was committed, and why the rest was not."""
        urgent = [work for work in batch if not work.deferrable]
        upkeep = self._upkeep.due(idle=self._idle)
        short = self._is_short()
        if self.dead:
            return [], LogUnavailable(f"{self._path}: {self.dead}")
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
                if is_locked(error):
                    self._roll_back()
                    return [], self._locked_out()
                if not self._is_full(error):
                    self.die(error)
                    return [], LogUnavailable(f"{self._path}: {error}")
                self._roll_back()
            else:
                return works, None if works is batch else self._too_full()
        return [], self._too_full()

    def _is_full(self, error: BaseException) -> bool:
        return is_full(error) or (may_be_full(error) and has_no_room(self._path))

    def _too_full(self) -> StorageFull:
        return StorageFull(self.room.shortage or "the log's disk is full, or its quota used up")

    def _is_short(self) -> bool:
        try:
            return self.room.is_short(self._connection, self._cut)
        except (OSError, DatabaseError) as error:
            if is_locked(error):  # what was known still holds
                return self.room.shortage != ""
            if not self._is_full(error):
                self.die(error)
            return True

    def _transaction(self, works: Sequence[Work], *, kept_up: bool) -> None:
        self._begin()
        for work in works:
            work.run(self._connection)
        if kept_up:
            self._upkeep.run(self._connection)
        self._connection.execute("COMMIT")
        written = sum([work.size for work in works]) + (64 if kept_up else 2) * PAGE
        self._written += written
        self.room.wrote(written)
        for work in works:
            work.committed()
        if kept_up:
            self._upkeep.committed()

    def _begin(self) -> None:
        """The only step that needs the file's lock, and so the only one that waits for another program: from
        here to the end of the transaction the lock is ours."""
        tries = LOCKED_TRIES if self.locked else LOCK_TRIES
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except DatabaseError as error:
                tries -= 1
                if not is_locked(error) or tries <= 0:
                    raise
                self._pause.wait(LOCK_RETRY)
            else:
                break
        if self.locked:
            self.locked = ""
            logger.info("%s is no longer locked by another program", self._path)

    def _locked_out(self) -> StorageLocked:
        if not self.locked:
            self.locked = f"{self._path} is locked by another program: {holders.writers(self._path)}"
            logger.warning("%s; nothing is accepted until it is done", self.locked)
        return StorageLocked(self.locked)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:  # SQLite may have done it by itself
            self._guard(lambda: self._connection.execute("ROLLBACK"))

    def _checkpoint(self) -> None:
        """Explicitly, for SQLite keeps the errors of its automatic checkpoints to itself. It copies what no
        reader needs any more, and waits for nobody."""
        self._written = 0
        _, pages, _ = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if pages * PAGE > WAL_CAP:  # somebody was always reading, perhaps only we
            pages = self._begin_anew("RESTART")
        if pages >= 0:  # else another program copies it just now
            self._overgrown.look(pages * PAGE, self._began)
            self.room.overgrown = self._overgrown.size

    def _begin_anew(self, how: str) -> int:
        """The write-ahead log begins anew as soon as nobody reads it. Our own reader is asked to pause for
        it; another program's is not waited for. Returns how many pages it still holds."""
        ours = self.reading.acquire(timeout=READER_PATIENCE)
        try:
            busy, pages, _ = self._connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
        finally:
            if ours:
                self.reading.release()
        return int(pages) if busy and ours else 0

    def _cut(self) -> None:
        """To no length at all, for else the file keeps the largest that it ever had."""
        self._written = 0
        self._guard(lambda: self._begin_anew("TRUNCATE"))

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
            if not self._is_full(error) and not is_locked(error):
                self.die(error)

    def die(self, error: Exception) -> None:
        self.dead = error
        self._fatal(error)

    def __repr__(self) -> str:
        state = "dead" if self.dead else "locked out" if self.locked else "writing"
        return f"<Writer {state}, {self.queue.qsize()} queued, {self._written} B since the checkpoint>"
