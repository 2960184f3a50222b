"""Which other programs have locked a SQLite file, as far as the system tells (`/proc`, on Linux)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

_WRITE_LOCK = 120
"""The byte of `-shm` that whoever writes has locked for itself."""
_READ_LOCKS = range(123, 128)
"""Those that whoever reads shares."""
_EXCLUSIVE = range(0x40000000, 0x40000200)
"""Those of the file itself that a program without a write-ahead log locks for itself to write."""


class FileLock(NamedTuple):
    """A line of /proc/locks. `last` is None for "to the end"."""

    pid: int
    exclusive: bool
    inode: int
    first: int
    last: int | None

    def covers(self, places: Collection[int]) -> bool:
        return self.first <= max(places) and (self.last is None or self.last >= min(places))


def parse_locks(text: str) -> list[FileLock]:
    """Byte-range locks that are held; those that are waited for are left out. Pure."""
    found = []
    for line in text.splitlines():
        match line.split():
            case [_, "POSIX", _, kind, pid, place, first, last]:
                inode = int(place.rpartition(":")[2])
                end = None if last == "EOF" else int(last)
                found.append(FileLock(int(pid), kind == "WRITE", inode, int(first), end))
    return found


def writers(path: Path) -> str:
    """Who may hold the lock that a transaction needs, in words."""
    memory, database = _inode(f"{path}-shm"), _inode(str(path))

    def blocks(lock: FileLock) -> bool:
        if lock.inode == memory:
            return lock.exclusive and lock.covers([_WRITE_LOCK])
        return lock.inode == database and lock.exclusive and lock.covers(_EXCLUSIVE)

    return _named(path, blocks)


def readers(path: Path) -> str:
    """Who may hold on to an old state of the file, in words."""
    memory = _inode(f"{path}-shm")
    return _named(path, lambda lock: lock.inode == memory and lock.covers(_READ_LOCKS))


def _named(path: Path, concerns: Callable[[FileLock], bool]) -> str:
    others = {lock.pid for lock in _locks() if concerns(lock)} - {os.getpid()}
    others = {pid for pid in others if pid > 0} or _openers(path)
    if not others:
        return "nothing here shows which one"
    return " or ".join(f"process {pid} ({_name(pid)})" for pid in sorted(others))


def _locks() -> list[FileLock]:
    try:
        return parse_locks(Path("/proc/locks").read_text(encoding="ascii", errors="replace"))
    except (OSError, ValueError):
        return []


def _openers(path: Path) -> set[int]:
    """Other processes of which it can be seen that they have the file open."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) != os.getpid():
            with contextlib.suppress(OSError):  # somebody else's, or ended meanwhile
                if any(_same(descriptor, path) for descriptor in (process / "fd").iterdir()):
                    found.add(int(process.name))
    return found


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "?"
