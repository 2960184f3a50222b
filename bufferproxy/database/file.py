"""The file itself: who holds it, and how it is opened."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import threading
from typing import TYPE_CHECKING, NamedTuple

from bufferproxy.database import holders
from bufferproxy.database.faults import DatabaseError, is_locked
from bufferproxy.errors import LogUnusable, Outdated

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Connection = sqlite3.Connection

PAGE = 8192
WAL_CAP = 64 << 20
"""Bytes of write-ahead log from which on our own reader is asked to pause, so that it can begin anew."""
READ_PATIENCE = 2.0
"""Seconds that our reader waits while another program repairs the write-ahead log."""
OPEN_PATIENCE = 10.0
"""Seconds that a start waits for another program's lock, and ..."""
OPEN_RETRY = 0.05
"""... those between two tries."""

logger = logging.getLogger(__name__)


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


class Hold:
    """The file is this process's, under whatever name, until this is closed or the process ends."""

    def __init__(self, descriptors: Sequence[int]) -> None:
        self._descriptors = descriptors

    def close(self) -> None:
        """Not before the file's connections are: to close a descriptor of a file lets go of all locks that
        SQLite has of it."""
        for descriptor in self._descriptors:
            os.close(descriptor)


def hold(path: Path) -> Hold:
    """Raises LogUnusable when another process holds it. Beside the file lies one that names who holds it; the
    lock that counts is on the file itself, which a link gives other names."""
    try:
        make_folder(path.parent)
        note = os.open(f"{os.path.realpath(path)}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Made by us, for nobody else to read: what callers sent lies in it. SQLite gives -wal the same mode.
        itself = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LogUnusable(f"cannot open {path}: {error.strerror}") from error
    holding = Hold((note, itself))
    try:
        for descriptor in (note, itself):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(note, 32, 0).decode(errors="replace").strip()
        holding.close()
        who = "another process under another name" if descriptor == itself else f"process {holder or '?'}"
        raise LogUnusable(
            f"{path} is held by {who}: one process at a time; stop it, or use another file"
        ) from error
    with contextlib.suppress(OSError):  # a full disk: the lock holds without its holder's name
        os.ftruncate(note, 0)
        os.pwrite(note, b"%d\n" % os.getpid(), 0)
    return holding


def open_writer(path: Path, schema: Schema, patience: float = OPEN_PATIENCE) -> Connection:
    """Waits at most `patience` seconds for another program's lock. Raises LogUnusable."""
    pause = threading.Event()
    tries = 0
    while True:
        try:
            connection = _try_to_open(path, schema)
        except DatabaseError as error:
            if not is_locked(error):
                raise
            told = f"{path} is locked by another program: {holders.writers(path)}"
            if tries * OPEN_RETRY >= patience:
                raise LogUnusable(f"{told}: wait until it is done, or stop it, then start again") from error
            if not tries:
                logger.warning("%s: the start waits for it, up to %g s", told, patience)
            tries += 1
            pause.wait(OPEN_RETRY)
        else:
            sync_folder(path.parent)
            return connection


def _try_to_open(path: Path, schema: Schema) -> Connection:
    # No timeout: SQLite would wait at every step, a checkpoint's too. The writer waits where it should.
    connection = sqlite3.connect(
        path, timeout=0.0, isolation_level=None, check_same_thread=False, cached_statements=1024
    )
    try:
        _prepare(connection, path, schema)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> Connection:
    """A connection that cannot write; it never checkpoints, also not when it is closed last."""
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=ro",
        timeout=READ_PATIENCE,
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=1024,
    )
    connection.execute("PRAGMA query_only=ON")
    return connection


def _prepare(connection: Connection, path: Path, schema: Schema) -> None:
    def ask(pragma: str) -> object:
        (answer,) = connection.execute(f"PRAGMA {pragma}").fetchone()
        return answer

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
    else:
        connection.execute("BEGIN IMMEDIATE")  # nobody else has locked it
        connection.execute("ROLLBACK")


def _objects(connection: Connection) -> int:
    """Tables and indexes."""
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return int(objects)
