"""What a start cannot go on from is said in one line, with the exit code that scripts expect."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from bufferproxy.testing.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance


def _refusal(folder: Path, role: str, settings: dict[str, Any]) -> tuple[int, str]:
    """Exit code and what was said last."""
    file = folder / "refused.yaml"
    services = {"orders": {"to": "http://127.0.0.1:9"}}
    file.write_text(json.dumps({"services": services, **settings}))
    ports = ["--listen", f"127.0.0.1:{free_port()}", "--admin", f"127.0.0.1:{free_port()}"]
    done = subprocess.run(
        [sys.executable, "-m", "bufferproxy", role, "-c", str(file), *ports],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.returncode, done.stderr.rstrip().rpartition("\n")[2]


async def test_a_file_that_another_process_holds(sqlite_world: World) -> None:
    world = await asyncio.to_thread(sqlite_world.start)
    code, said = _refusal(world.folder, "run", {"log": world.place.url})
    assert code == 1
    assert "log.db" in said
    assert str(world.proxy.pid) in said or "another process" in said


def test_a_file_that_is_not_a_log(tmp_path: Path) -> None:
    file = tmp_path / "log.db"
    file.write_bytes(b"this is no database " * 1000)
    code, said = _refusal(tmp_path, "run", {"log": f"sqlite:{file}"})
    assert code == 1
    assert str(file) in said


async def test_a_file_that_is_damaged(sqlite_world: World) -> None:
    world = await asyncio.to_thread(sqlite_world.start)
    world.proxy.terminate()
    file = world.folder / "data" / "log.db"
    data = bytearray(file.read_bytes())
    data[100:4096] = b"\xff" * (4096 - 100)  # the root of the schema
    file.write_bytes(data)
    code, said = _refusal(world.folder, "run", {"log": world.place.url})
    assert code == 1
    assert str(file) in said


async def test_a_file_of_a_newer_version(sqlite_world: World) -> None:
    world = await asyncio.to_thread(sqlite_world.start)
    world.proxy.terminate()
    file = world.folder / "data" / "log.db"
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    code, said = _refusal(world.folder, "run", {"log": world.place.url})
    assert code == 1
    assert str(file) in said
    assert "99" in said


def test_a_broker_that_cannot_be_reached(tmp_path: Path) -> None:
    broker = f"127.0.0.1:{free_port()}"
    code, said = _refusal(tmp_path, "proxy", {"log": f"kafka://{broker}"})
    assert code == 4
    assert broker in said


@pytest.mark.kafka
def test_topics_that_are_missing_and_must_not_be_made(tmp_path: Path, kafka_broker: Any) -> None:
    kafka = {"prefix": "nobody-made-these", "replication": 1, "create_topics": False}
    settings = {"log": f"kafka://{kafka_broker.bootstrap}", "kafka": kafka}
    for role in ("proxy", "worker", "run"):
        code, said = _refusal(tmp_path, role, settings)
        assert code == 1
        assert "topics create" in said


def test_a_configuration_that_is_wrong(tmp_path: Path) -> None:
    code, said = _refusal(tmp_path, "run", {"lgo": "sqlite:x"})
    assert code == 3
    assert "refused.yaml:1:" in said


def test_a_proxy_without_kafka(tmp_path: Path) -> None:
    code, said = _refusal(tmp_path, "proxy", {"log": "sqlite:x.db"})
    assert code == 3
    assert "kafka" in said.lower()
