"""`grace` is for the replica, however many services it stops."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.processes import Bufferproxy, RecorderProcess

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.acceptance

GRACE = 3.0


def test_services_that_all_hang_are_stopped_at_once(tmp_path: Path) -> None:
    with RecorderProcess(tmp_path) as recorder:
        services = {
            name: {"to": recorder.url, "rate": "unlimited", "match": {"path": f"/{name}", "strip": True}}
            for name in "abc"
        }
        settings = {"log": f"sqlite:{tmp_path}/log.db", "grace": f"{GRACE:g}s", "services": services}
        recorder.mode(stuck="/")
        with Bufferproxy("run", json.dumps(settings), tmp_path) as proxy:
            for name in services:
                urllib.request.urlopen(f"{proxy.url}/{name}", data=b"", timeout=10.0).close()
            recorder.await_count(len(services))
            began = time.monotonic()
            assert proxy.terminate() == 0
            assert time.monotonic() - began < 2 * GRACE
