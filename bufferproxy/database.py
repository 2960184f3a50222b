"""A SQLite file that survives power loss: the only place that knows sqlite3.

One connection writes and checkpoints, on a thread of its own; another reads, on another. (SQLite before
3.51.3 can corrupt a file that two connections write and checkpoint at once.) Whatever has queued while one
transaction was being synced goes into the next: group commit, without any delay of its own.

What can go wrong, and what follows:
1. The disk is full: the transaction is rolled back, its works are told StorageFull, and the next one tries
   again. Works that may wait (`deferrable`) are refused earlier, while `reserve` bytes are still free.
2. Any other error of input or output: `fatal` is called, on the thread where it happened. After a failed
   fsync nobody knows what is on the disk, so nothing is retried; the process ends and recovers.
3. The file is damaged, newer, or held by another process: LogUnusable, with the mend.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple, NoReturn, Protocol, TypeVar

from bufferproxy.clock import Clock, SystemClock
from bufferproxy.errors import LogError, LogUnavailable, LogUnusable, StorageFull

T = TypeVar("T")
Connection = sqlite3.Connection
Fatal = Callable[[BaseException], None]

PAGE = 8192
CHECKPOINT = 8 << 20
"""Bytes in the write-ahead log after which it is copied into the file."""
WAL_CAP = 64 << 20
"""Bytes of write-ahead log from which on the writer waits for readers, to begin it anew."""
ROOM_CHECK = 0.1
"""Seconds for which one look at the free space holds."""
PAUSE = 0.1
"""Seconds without work after which upkeep gets transactions of its own."""
IDLE = 1.0
"""Seconds without work after which upkeep is asked again whether something is due."""

logger = logging.getLogger(__name__)


class Schema(NamedTuple):
    """`application` is SQLite's application_id, `version` its user_version, `script` makes an empty file's
    tables (it runs within a transaction)."""

    application: int
    version: int
    script: str


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


class Database:
    """Made by `open_database`. All public methods belong to the loop it was opened on."""

    def __init__(self, path: Path, reserve: int, fatal: Fatal, upkeep: Upkeep, clock: Clock) -> None:
        self.path = path
        self._reserve = reserve
        self._fatal = fatal
        self._upkeep = upkeep
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._reads = ThreadPoolExecutor(1, thread_name_prefix=f"{path.name}-reader")
        self._thread = threading.Thread(target=self._write_all, name=f"{path.name}-writer", daemon=True)
        self._written = 0
        self._room_checked = float("-inf")
        self._short = False
        self._idle = False
        self._dead: Exception | None = None
        self._closing = False

    # --- for the loop

    def write(self, work: Work) -> None:
        """Queue `work` for the next transaction. Not after `close`."""
        self._queue.put(work)

    async def transact(self, function: Callable[[Connection], T]) -> T:
        """`function(connection)` within the next transaction; returns when that is durable. Raises what
        `function` raises (then it changed nothing), StorageFull, or LogUnavailable."""
        if self._closing:
            raise LogUnavailable(f"{self.path} is closed")
        answer: asyncio.Future[T] = self._loop.create_future()
        self.write(_Call(function, answer))
        return await answer

    async def read(self, function: Callable[[Connection], T]) -> T:
        """`function(connection)` on the reading thread. Be quick: others wait, and so does the writer
        when it must begin its write-ahead log anew."""
        if self._closing:
            raise LogUnavailable(f"{self.path} is closed")
        return await self._loop.run_in_executor(self._reads, self._read, function)

    async def close(self) -> None:
        """Commits what is queued, copies the write-ahead log into the file, lets go of the lock."""
        if self._closing:
            return
        self._closing = True
        await self._loop.run_in_executor(self._reads, self._close_reader)
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._reads.shutdown(wait=False)

    def __repr__(self) -> str:
        state = "dead" if self._dead else "short of room" if self._short else "open"
        return f"<Database {self.path} {state}, {self._queue.qsize()} queued, {self._written} B unchecked>"

    # --- opening, on a thread that is not the loop's

    def start(self, schema: Schema) -> None:
        self._lock = _hold(self.path)
        try:
            with _named(self.path):
                self._writer = _open_writer(self.path, schema)
                self._reader = sqlite3.connect(
                    f"{self.path.resolve().as_uri()}?mode=ro",
                    uri=True,
                    isolation_level=None,
                    check_same_thread=False,
                    cached_statements=1024,
                )
                self._reader.execute("PRAGMA query_only=ON")
                self._reader.execute("PRAGMA busy_timeout=3000")
        except BaseException:
            os.close(self._lock)
            raise
        self._thread.start()

    # --- the reading thread

    def _read(self, function: Callable[[Connection], T]) -> T:
        try:
            with _named(self.path):
                return function(self._reader)
        except sqlite3.Error as error:
            self._die(error)
            raise LogUnavailable(f"{self.path}: {error}") from error

    def _close_reader(self) -> None:
        self._reader.close()

    # --- the writer's thread

    def _write_all(self) -> None:
        closing = False
        while not closing:
            batch, closing = self._next_batch()
            committed = [] if self._dead else self._commit(batch)
            if batch:
                self._report(batch, {id(work) for work in committed})
            if self._written >= CHECKPOINT:
                self._guard(self._checkpoint)
        self._guard(self._close_writer)
        os.close(self._lock)

    def _next_batch(self) -> tuple[list[Work], bool]:
        """What has queued; empty when it is time for upkeep only. The flag: there will be no more."""
        due = self._dead is None and self._upkeep.due(idle=True)
        try:
            work = self._queue.get(timeout=(0 if self._idle else PAUSE) if due else IDLE)
        except Empty:
            self._idle = True
            return [], False
        self._idle = False
        batch: list[Work] = []
        while work is not None:
            batch.append(work)
            try:
                work = self._queue.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _commit(self, batch: Sequence[Work]) -> Sequence[Work]:
        """Commits as much as there is room for. Returns what was committed."""
        urgent = [work for work in batch if not work.deferrable]
        upkeep = self._upkeep.due(idle=self._idle)
        # What the disk has no room for: first upkeep goes overboard, then what may wait.
        plans = [(batch, upkeep), (batch, False), (urgent, False)]
        if len(urgent) < len(batch) and self._short_of_room():
            plans = [(urgent, upkeep), (urgent, False)]
        for works, kept_up in plans:
            if not works and not kept_up:
                continue
            try:
                self._transaction(works, kept_up=kept_up)
            except Exception as error:  # noqa: BLE001 - whatever it is, what is on the disk is in doubt
                if not _is_full(error):
                    self._die(error)
                    return []
                self._roll_back()
            else:
                return works
        return []

    def _transaction(self, works: Sequence[Work], *, kept_up: bool) -> None:
        self._writer.execute("BEGIN IMMEDIATE")
        for work in works:
            work.run(self._writer)
        if kept_up:
            self._upkeep.run(self._writer)
        self._writer.execute("COMMIT")
        self._written += sum(work.size for work in works) + (64 if kept_up else 2) * PAGE
        for work in works:
            work.committed()
        if kept_up:
            self._upkeep.committed()

    def _roll_back(self) -> None:
        if self._writer.in_transaction:  # SQLite may have done it by itself
            self._guard(lambda: self._writer.execute("ROLLBACK"))

    def _short_of_room(self) -> bool:
        """Free for this database are also the pages that it holds and does not use."""
        now = self._clock.now()
        if self._reserve and now - self._room_checked >= ROOM_CHECK:
            self._room_checked = now
            disk = os.statvfs(self.path.parent)
            (unused,) = self._writer.execute("PRAGMA freelist_count").fetchone()
            self._short = disk.f_bavail * disk.f_frsize + unused * PAGE < self._reserve
        return self._short

    def _checkpoint(self) -> None:
        """Explicitly, for SQLite keeps the errors of its automatic checkpoints to itself."""
        self._written = 0
        _, pages, _ = self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if pages * PAGE > WAL_CAP:  # somebody was always reading: wait for them, once
            self._writer.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()

    def _close_writer(self) -> None:
        if self._dead is None:
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._writer.close()

    def _guard(self, step: Callable[[], object]) -> None:
        try:
            step()
        except sqlite3.Error as error:
            if not _is_full(error):
                self._die(error)

    def _die(self, error: Exception) -> None:
        self._dead = error
        self._fatal(error)

    def _report(self, batch: Sequence[Work], committed: AbstractSet[int]) -> None:
        """One call across threads for the whole transaction."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._tell, batch, committed)

    def _tell(self, batch: Sequence[Work], committed: AbstractSet[int]) -> None:
        for work in batch:
            if id(work) in committed:
                work.tell(None)
            elif self._dead is not None:
                work.tell(LogUnavailable(f"{self.path}: {self._dead}"))
            else:
                work.tell(StorageFull(f"no room for {self.path}"))


class _Call:
    """A function of somebody who waits for its result. What it raises undoes it, and only it."""

    deferrable = False
    size = 4 * PAGE

    def __init__(self, function: Callable[[Connection], T], answer: asyncio.Future[T]) -> None:
        self.answer = answer
        self._function = function
        self._result: object = None
        self._error: Exception | None = None

    def run(self, connection: Connection) -> None:
        self._error = None
        connection.execute("SAVEPOINT call")
        try:
            self._result = self._function(connection)
        except sqlite3.OperationalError:
            raise
        except Exception as error:  # noqa: BLE001 - it is raised where the call is awaited
            self._error = error
            connection.execute("ROLLBACK TO call")
        connection.execute("RELEASE call")

    def committed(self) -> None: ...

    def tell(self, error: LogError | None) -> None:
        if self.answer.done():  # nobody waits any more
            return
        problem = error or self._error
        if problem is not None:
            self.answer.set_exception(problem)
        else:
            self.answer.set_result(self._result)  # type: ignore[arg-type]


async def open_database(
    path: Path,
    schema: Schema,
    *,
    reserve: int = 0,
    fatal: Fatal = end_process,
    upkeep: Upkeep | None = None,
    clock: Clock | None = None,
) -> Database:
    """Opens or makes the file (and its folder). `reserve` is in bytes. Raises LogUnusable."""
    database = Database(path, reserve, fatal, upkeep or NoUpkeep(), clock or SystemClock())
    await asyncio.to_thread(database.start, schema)
    return database


def sync_folder(folder: Path) -> None:
    """Makes the names in it durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hold(path: Path) -> int:
    """The lock that lasts as long as this process, or until it is closed. Returns its descriptor."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LogUnusable(f"cannot open {path}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
        os.close(lock)
        raise LogUnusable(
            f"{path} is held by process {holder or '?'}: one process at a time; stop it, or use another file"
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    return lock


def _open_writer(path: Path, schema: Schema) -> Connection:
    # Made by us, for nobody else to read: what callers sent lies in it. SQLite gives -wal the same mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=1024)
    try:
        _prepare(connection, path, schema)
    except BaseException:
        connection.close()
        raise
    sync_folder(path.parent)
    return connection


def _prepare(connection: Connection, path: Path, schema: Schema) -> None:
    def ask(pragma: str) -> object:
        (answer,) = connection.execute(f"PRAGMA {pragma}").fetchone()
        return answer

    connection.execute("PRAGMA busy_timeout=5000")
    version, application = ask("user_version"), ask("application_id")
    empty = ask("page_count") == 0
    if not empty and version and application != schema.application:
        raise LogUnusable(f"{path} is a database of something else: use another file")
    if isinstance(version, int) and version > schema.version:
        raise LogUnusable(
            f"{path} was written by a newer bufferproxy (format {version}, this one knows"
            f" {schema.version}): run that version, or drain the file with it first"
        )
    connection.execute(f"PRAGMA page_size={PAGE}")
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    if ask("journal_mode=WAL") != "wal":
        raise LogUnusable(f"{path}: its file system has no shared memory for SQLite: use a local disk")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute(f"PRAGMA journal_size_limit={WAL_CAP}")
    connection.execute("PRAGMA secure_delete=OFF")
    connection.execute("PRAGMA cache_size=-16384")
    if version == 0:
        # One transaction: a crash in the middle leaves an empty file, to be filled the next time.
        connection.executescript(
            f"BEGIN IMMEDIATE; {schema.script}"
            f"PRAGMA application_id={schema.application}; PRAGMA user_version={schema.version}; COMMIT;"
        )


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Damage gets its name and its mend."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise LogUnusable(
                f"{path} is damaged ({error}): stop, and restore it, or salvage it with"
                f" `sqlite3 {path} .recover`, or move it away to begin anew"
            ) from error
        if _code(error) == sqlite3.SQLITE_CANTOPEN:
            raise LogUnusable(f"cannot open {path}: {error}") from error
        raise


def _code(error: BaseException) -> int:
    """SQLite's primary result code; 0 for errors of Python's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_full(error: BaseException) -> bool:
    return _code(error) == sqlite3.SQLITE_FULL
