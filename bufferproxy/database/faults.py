"""What SQLite's errors mean. A foreign type stops here."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from bufferproxy.errors import LogUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DatabaseError = sqlite3.Error

_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})

_FAULTS = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_NOMEM,
    }
)


def is_full(error: BaseException) -> bool:
    return _code(error) == sqlite3.SQLITE_FULL


def may_be_full(error: BaseException) -> bool:
    """A write failed, and SQLite does not say why: a quota that is used up looks so (`filesystem.py`)."""
    return getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)


def is_locked(error: BaseException) -> bool:
    """Another program has locked the file: nothing was done, and nothing is broken. With a write-ahead log
    this is found where a transaction begins; wherever it is found, a rollback undoes all of it."""
    return _code(error) in _LOCKED


def is_fault(error: BaseException, *, reading: bool = False) -> bool:
    """Of the storage, and not of the statement. (That a reader cannot write is as it should be.)"""
    return _code(error) in _FAULTS and not (reading and _code(error) == sqlite3.SQLITE_READONLY)


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
