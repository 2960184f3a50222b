"""How much of the disk is left for the file."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

from bufferproxy.config.units import format_size
from bufferproxy.database.file import PAGE, Connection

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bufferproxy.clock import Clock

ROOM_CHECK = 0.1
"""Seconds for which one look at the free space holds, and ..."""
ROOM_WRITTEN = 1 << 20
"""... bytes after which another one is due."""
TIGHT = 8 << 20
"""Free bytes below which the write-ahead log is kept short, however small the reserve is."""


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

    overgrown = 0
    """Bytes by which the write-ahead log is beyond its cap, because another program reads the file. What they
    hold will need as much again when it is settled, so they count twice: it grows into half of what is free
    above the reserve at most."""

    def __init__(self, path: Path, reserve: int, clock: Clock) -> None:
        self._path = path
        self._reserve = reserve
        self._clock = clock
        self._checked = float("-inf")
        self._written = 0
        self.shortage = ""
        """Why nothing fresh is taken, in words for callers; empty while there is room."""
        self.hopeless = False
        """Without the file, too, there would be a shortage: draining it cannot end it."""

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
            self._judge(free)
        return self.shortage != ""

    def _judge(self, free: Free) -> None:
        left = free.disk + free.unused
        if not self._reserve or left >= self._reserve:
            self.shortage, self.hopeless = "", False
            return
        total, ours = self._sizes()
        self.hopeless = left - free.unused + ours < self._reserve
        self.shortage = (
            f"storage.reserve keeps {format_size(self._reserve)} free for what was accepted,"
            f" and {max(0, left) >> 20} MiB of {total >> 20} MiB are free"
        )
        if self.overgrown:
            self.shortage += f" beside {self.overgrown >> 20} MiB for what an overgrown write-ahead log holds"

    def _sizes(self) -> tuple[int, int]:
        """Bytes of the disk, and of it what the file and its write-ahead log take."""
        disk = os.statvfs(self._path.parent)
        ours = 0
        for file in (self._path, f"{self._path}-wal"):
            with contextlib.suppress(FileNotFoundError):
                ours += os.stat(file).st_size
        return disk.f_blocks * disk.f_frsize, ours

    def _look(self, connection: Connection) -> Free:
        disk = os.statvfs(self._path.parent)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (unused,) = connection.execute("PRAGMA freelist_count").fetchone()
        owed = max(0, pages * PAGE - self._path.stat().st_size)
        return Free(disk.f_bavail * disk.f_frsize - owed - self.overgrown, unused * PAGE)
