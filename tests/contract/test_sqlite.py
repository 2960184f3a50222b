from __future__ import annotations

from pathlib import Path

import pytest

from bufferproxy.testing.log_backends import SqliteBackend
from bufferproxy.testing.log_suite import LogSuite
from bufferproxy.testing.log_world import Backend


class TestSqliteLog(LogSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return SqliteBackend(tmp_path)
