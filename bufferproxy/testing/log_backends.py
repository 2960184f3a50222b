"""The memory and SQLite logs for the contract suite and the state machine."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.log.sqlite import SqliteLog, open_sqlite
from bufferproxy.testing.log_world import Backend

if TYPE_CHECKING:
    from pathlib import Path

    from bufferproxy.log.contract import Log


class MemoryBackend(Backend):
    """A crash leaves the `Memory`."""

    def __init__(self) -> None:
        self._memory = Memory()

    async def open(self) -> Log:
        return MemoryLog(self._memory)

    async def reopen(self, log: Log) -> Log:
        return MemoryLog(self._memory)

    async def trim(self, log: Log) -> None:
        assert isinstance(log, MemoryLog)
        log.trim()


class SqliteBackend(Backend):
    """A crash leaves the file and its write-ahead log as they are at that moment: a copy of both, made
    while nothing writes, is what the next process finds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._crashes = 0
        self._crashed: SqliteLog | None = None

    async def open(self) -> Log:
        return await open_sqlite(self._folder / "log.db")

    async def reopen(self, log: Log) -> Log:
        assert isinstance(log, SqliteLog)
        self._crashes += 1
        before = log.database.path
        after = self._folder / f"{self._crashes}" / "log.db"
        after.parent.mkdir()

        def copy(_: object) -> None:
            for suffix in ("", "-wal"):
                shutil.copyfile(f"{before}{suffix}", f"{after}{suffix}")

        await log.database.transact(copy)
        await self._forget()
        self._crashed = log
        return await open_sqlite(after)

    async def trim(self, log: Log) -> None:
        assert isinstance(log, SqliteLog)
        await log.trim()

    async def close(self, log: Log) -> None:
        await self._forget()
        await log.close()

    async def _forget(self) -> None:
        """Of the log before the crash, threads and descriptors are left: not for the next one to see."""
        if self._crashed is not None:
            await self._crashed.close()
            self._crashed = None
