"""The file itself: who holds it, how it is opened, what its errors mean, and how much room it has."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from bufferproxy.errors import LogUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bufferproxy.clock import Clock

Connection = sqlite3.Connection
DatabaseError = sqlite3.Error

PAGE = 8192
WAL_CAP = 64 << 20
"""Bytes of write-ahead log from which on the writer waits for readers, to begin it anew."""
ROOM_CHECK = 0.1
"""Seconds for which one look at the free space holds."""


class Schema(NamedTuple):
    """`application` is SQLite's application_id, `version` its user_version, `script` makes an empty file's
    tables (it runs within a transaction)."""

    application: int
    version: int
    script: str
    synced: bool = True
    """False for what can be made anew: a power loss may take the last transactions, and never the file."""


class Room:
    """Whether less than `reserve` bytes are free. Belongs to the writer's thread."""

    def __init__(self, path: Path, reserve: int, clock: Clock) -> None:
        self._folder = path.parent
        self._reserve = reserve
        self._clock = clock
        self._checked = float("-inf")
        self._short = False

    def now(self) -> float:
        return self._clock.now()

    def is_short(self, connection: Connection) -> bool:
        """Free for this file are also the pages that it holds and does not use."""
        now = self.now()
        if self._reserve and now - self._checked >= ROOM_CHECK:
            self._checked = now
            disk = os.statvfs(self._folder)
            (unused,) = connection.execute("PRAGMA freelist_count").fetchone()
            self._short = disk.f_bavail * disk.f_frsize + unused * PAGE < self._reserve
        return self._short


def sync_folder(folder: Path) -> None:
    """Makes the names in it durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hold(path: Path) -> int:
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
    connection.execute(f"PRAGMA page_size={PAGE}")
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    if ask("journal_mode=WAL") != "wal":
        raise LogUnusable(f"{path}: its file system has no shared memory for SQLite: use a local disk")
    connection.execute(f"PRAGMA synchronous={'FULL' if schema.synced else 'NORMAL'}")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute(f"PRAGMA journal_size_limit={WAL_CAP}")
    connection.execute("PRAGMA secure_delete=OFF")
    connection.execute("PRAGMA cache_size=-16384")
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
