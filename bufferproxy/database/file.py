"""The file itself: who holds it, how it is opened, what its errors mean, and how much room it has."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from bufferproxy.errors import LogUnusable, Outdated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bufferproxy.clock import Clock

Connection = sqlite3.Connection
DatabaseError = sqlite3.Error

PAGE = 8192
WAL_CAP = 64 << 20
"""Bytes of write-ahead log from which on the writer waits for readers, to begin it anew."""
ROOM_CHECK = 0.1
"""Seconds for which one look at the free space holds, and ..."""
ROOM_WRITTEN = 1 << 20
"""... bytes after which another one is due."""
TIGHT = 8 << 20
"""Free bytes below which the write-ahead log is kept short, however small the reserve is."""


class Schema(NamedTuple):
    """`application` is SQLite's application_id, `version` its user_version, `script` makes an empty file's
    tables (it runs within a transaction)."""

    application: int
    version: int
    script: str
    oldest: int = 1 << 30
    """The oldest version that is read as it is; a file of it is of the newest from then on."""
    synced: bool = True
    """False for what can be made anew: a power loss may take the last transactions, and never the file."""


class Free(NamedTuple):
    """Bytes that this file could take."""

    disk: int
    """Free on the disk, when the write-ahead log has been copied into the file."""
    unused: int
    """In pages that the file has and does not use."""


class Room:
    """How much of the disk is left. Belongs to the writer's thread.

    What is written takes its place twice: in the write-ahead log at once, and in the file when the log is
    copied. Neither may fail for want of room: a log that cannot be copied is never begun anew, so that in the
    end not even what would make room can be written. And a log that was copied keeps its size. So while there
    is not much left, the log is copied and cut off at every look.
    """

    def __init__(self, path: Path, reserve: int, clock: Clock) -> None:
        self._path = path
        self._reserve = reserve
        self._clock = clock
        self._checked = float("-inf")
        self._written = 0
        self._short = False

    def now(self) -> float:
        return self._clock.now()

    def wrote(self, size: int) -> None:
        self._written += size

    def is_short(self, connection: Connection, cut: Callable[[], object]) -> bool:
        """Whether less than `reserve` bytes are free. `cut` copies the write-ahead log and cuts it off."""
        now = self.now()
        if now - self._checked >= ROOM_CHECK or self._written >= ROOM_WRITTEN:
            self._checked, self._written = now, 0
            free = self._look(connection)
            if free.disk < max(self._reserve, TIGHT):
                cut()
                free = self._look(connection)
            self._short = self._reserve > 0 and free.disk + free.unused < self._reserve
        return self._short

    def _look(self, connection: Connection) -> Free:
        disk = os.statvfs(self._path.parent)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (unused,) = connection.execute("PRAGMA freelist_count").fetchone()
        owed = max(0, pages * PAGE - self._path.stat().st_size)
        return Free(disk.f_bavail * disk.f_frsize - owed, unused * PAGE)


def sync_folder(folder: Path) -> None:
    """Makes the names in it durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """And those above it. Who syncs a file says nothing about the names on the way to it."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def hold(path: Path) -> int:
    """The lock that lasts as long as this process, or until it is closed. Returns its descriptor."""
    try:
        make_folder(path.parent)
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
    with contextlib.suppress(OSError):  # a full disk: the lock holds without its holder's name
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    return lock


def open_writer(path: Path, schema: Schema) -> Connection:
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


def open_reader(path: Path) -> Connection:
    """A connection that cannot write; it never checkpoints, also not when it is closed last."""
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=1024,
    )
    connection.execute("PRAGMA query_only=ON")
    connection.execute("PRAGMA busy_timeout=3000")
    return connection


def _prepare(connection: Connection, path: Path, schema: Schema) -> None:
    def ask(pragma: str) -> object:
        (answer,) = connection.execute(f"PRAGMA {pragma}").fetchone()
        return answer

    connection.execute("PRAGMA busy_timeout=5000")
    version, application = ask("user_version"), ask("application_id")
    made = _objects(connection) > 0  # not so after a crash while we made it
    if made and application != schema.application:
        raise LogUnusable(f"{path} is a database of something else: use another file")
    if isinstance(version, int) and version > schema.version:
        raise LogUnusable(
            f"{path} was written by a newer bufferproxy (format {version}, this one knows"
            f" {schema.version}): run that version, or drain the file with it first"
        )
    if made and isinstance(version, int) and version < min(schema.version, schema.oldest):
        raise Outdated(
            f"{path} was written by an older bufferproxy (format {version}, this one knows {schema.version}):"
            " drain it with that version, then use another file"
        )
    connection.execute(f"PRAGMA page_size={PAGE}")
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    if ask("journal_mode=WAL") != "wal":
        raise LogUnusable(f"{path}: its file system has no shared memory for SQLite: use a local disk")
    connection.execute(f"PRAGMA synchronous={'FULL' if schema.synced else 'NORMAL'}")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute(f"PRAGMA journal_size_limit={WAL_CAP}")
    connection.execute("PRAGMA secure_delete=OFF")
    connection.execute("PRAGMA cache_size=-16384")
    if made and version != schema.version:
        connection.execute(f"PRAGMA user_version={schema.version}")
    if not made:
        # One transaction: a crash in the middle leaves an empty file, to be filled the next time.
        connection.executescript(
            f"BEGIN IMMEDIATE; {schema.script}"
            f"PRAGMA application_id={schema.application}; PRAGMA user_version={schema.version}; COMMIT;"
        )


def _objects(connection: Connection) -> int:
    """Tables and indexes."""
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return int(objects)


@contextlib.contextmanager
def damage_named(path: Path) -> Iterator[None]:
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


def is_full(error: BaseException) -> bool:
    return _code(error) == sqlite3.SQLITE_FULL


_FAULTS = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOMEM,
    }
)


def is_fault(error: BaseException, *, reading: bool = False) -> bool:
    """Of the storage, and not of the statement. (That a reader cannot write is as it should be.)"""
    return _code(error) in _FAULTS and not (reading and _code(error) == sqlite3.SQLITE_READONLY)
