from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from bufferproxy.log.sqlite import SqliteLog, open_sqlite
from bufferproxy.testing.log_suite import LogSuite
from bufferproxy.testing.log_world import Backend

if TYPE_CHECKING:
    from pathlib import Path

    from bufferproxy.log.contract import Log


class SqliteBackend(Backend):
    """A crash leaves the file and its write-ahead log as they are at that moment: a copy of both, made
    while nothing writes, is what the next process finds. (Real kills: tests/integration.)"""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._crashed: list[SqliteLog] = []

    async def open(self) -> Log:
        return await open_sqlite(self._folder / "log.db")

    async def reopen(self, log: Log) -> Log:
        assert isinstance(log, SqliteLog)
        self._crashed.append(log)
        before = log.database.path
        after = self._folder / f"{len(self._crashed)}" / "log.db"
        after.parent.mkdir()

        def copy(_: object) -> None:
            for suffix in ("", "-wal"):
                shutil.copyfile(f"{before}{suffix}", f"{after}{suffix}")

        await log.database.transact(copy)
        return await open_sqlite(after)

    async def trim(self, log: Log) -> None:
        assert isinstance(log, SqliteLog)
        await log.trim()

    async def close(self, log: Log) -> None:
        for open_ in (*self._crashed, log):
            await open_.close()


class TestSqliteLog(LogSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return SqliteBackend(tmp_path)
