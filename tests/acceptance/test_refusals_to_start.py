"""What a start cannot go on from is said in one line, with the exit code that scripts expect."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest

from bufferproxy.testing.load import Load, Sent
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


SERVICE = {"to": "http://127.0.0.1:9", "order": "key", "key": "header:X-User-Id"}


async def with_backlog(world: World) -> None:
    """A service that cannot be reached, three requests that wait for it, and nobody who runs."""
    await asyncio.to_thread(world.start, order="key", key="header:X-User-Id")
    world.recorder.down()
    async with Load(world.proxy.url, connections=1) as load:
        told = await load.send(Sent(b"/%d" % n, headers=((b"X-User-Id", b"%d" % n),)) for n in range(3))
    assert all(one.accepted for one in told)
    for process in world.processes:
        process.terminate()


@pytest.mark.timeout(300)
async def test_requests_that_were_accepted_under_another_order(world: World) -> None:
    await with_backlog(world)
    roles = cycle(("proxy", "worker") if world.place.kafka else ("run",))
    for changed, words in (
        ({"order": "none"}, ("`order: key`", "`order: none`")),
        ({"key": "path:1"}, ("`key: header:x-user-id`", "`key: path:1`")),
        ({"key": None}, ("`key: header:x-user-id`", "no `key`")),
    ):
        (name,) = changed
        code, told = await asyncio.to_thread(_refusal, world.folder, next(roles), settings_of(world, changed))
        assert code == 1
        assert f"services.orders.{name}: 3 requests wait" in told
        assert all(word in told for word in (*words, "drain first"))


@pytest.mark.timeout(300)
async def test_requests_that_lie_in_another_number_of_partitions(kafka_world: World) -> None:
    world = kafka_world
    await with_backlog(world)
    for role, count in (("proxy", 8), ("worker", 2)):
        kafka = {**world.place.settings["kafka"], "partitions": count}
        code, told = await asyncio.to_thread(
            _refusal, world.folder, role, {**settings_of(world, {}), "kafka": kafka}
        )
        assert code == 1
        assert f"kafka.partitions: {count} is set" in told
        assert "requests has 4, where 3 requests of orders wait: set 4 again, and drain first" in told


async def test_when_nothing_waits_another_order_is_taken_and_is_what_the_next_start_compares_with(
    sqlite_world: World,
) -> None:
    world = sqlite_world
    await with_backlog(world)
    await asyncio.to_thread(drain, world)
    world.recorder.down()
    world.change(order="none")
    await asyncio.to_thread(world.proxy.start)
    async with Load(world.proxy.url, connections=1) as load:
        assert all(one.accepted for one in await load.send([Sent(b"/again")]))
    world.proxy.terminate()
    code, told = await asyncio.to_thread(_refusal, world.folder, "run", settings_of(world, {}))
    assert code == 1
    assert "1 requests wait that were accepted with `order: none`" in told


def settings_of(world: World, changed: dict[str, Any]) -> dict[str, Any]:
    service = {name: value for name, value in {**SERVICE, **changed}.items() if value is not None}
    return {"log": world.place.url, **world.place.settings, "services": {"orders": service}}


def drain(world: World) -> None:
    world.recorder.up()
    for process in world.processes:
        process.start()
    world.recorder.await_count(3)
    world.await_settled()
    for process in world.processes:
        process.terminate()
