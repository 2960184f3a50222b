from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.testing.log_suite import LogSuite
from bufferproxy.testing.log_world import Backend

if TYPE_CHECKING:
    from bufferproxy.log.contract import Log


class MemoryBackend(Backend):
    def __init__(self) -> None:
        self._memory = Memory()

    async def open(self) -> Log:
        return MemoryLog(self._memory)

    async def reopen(self, log: Log) -> Log:
        return MemoryLog(self._memory)

    async def trim(self, log: Log) -> None:
        assert isinstance(log, MemoryLog)
        log.trim()


class TestMemoryLog(LogSuite):
    @pytest.fixture
    def backend(self) -> Backend:
        return MemoryBackend()
