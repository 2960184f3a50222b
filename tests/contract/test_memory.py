from __future__ import annotations

import pytest

from bufferproxy.testing.log_backends import MemoryBackend
from bufferproxy.testing.log_suite import LogSuite
from bufferproxy.testing.log_world import Backend


class TestMemoryLog(LogSuite):
    @pytest.fixture
    def backend(self) -> Backend:
        return MemoryBackend()
