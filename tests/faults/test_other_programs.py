"""Other programs use the SQLite file: a backup, a browser, an open shell. Each is a real process here."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import sys
from typing import TYPE_CHECKING

import pytest

from bufferproxy.database import WAL_CAP
from bufferproxy.testing.crowd import Trial
from bufferproxy.testing.history import repeats
from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.processes import get, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bufferproxy.testing.history import History
    from bufferproxy.testing.world import World

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

RATE = 300

OTHER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchall()
print("done", flush=True)
sys.stdin.read()
"""

WRITES = ("BEGIN IMMEDIATE",)
READS = ("BEGIN", "SELECT * FROM topics")


@contextlib.asynccontextmanager
async def another_program(path: str, *statements: str) -> AsyncIterator[int]:
    """It has done these to the file, and goes on holding what it holds. Yields its process id."""
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OTHER, path, *statements,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert other.stdin is not None
    assert other.stdout is not None
    try:
        assert await other.stdout.readline() == b"done\n"
        yield other.pid
    finally:
        other.stdin.close()
        await other.wait()


def log_check(world: World) -> tuple[bool, str]:
    """What readiness says of the log."""
    try:
        view = get(f"{world.proxy.admin}/readyz")
    except OSError as unready:
        view = json.load(unready)  # type: ignore[arg-type]
    (check,) = [one for one in view["checks"] if one["check"] == "log"]
    return check["ok"], check["detail"]


async def test_a_file_that_is_locked_refuses_says_who_has_it_and_recovers(
    sqlite_world: World, record: Callable[[str, int, History], None]
) -> None:
    world = sqlite_world
    path = world.place.url.removeprefix("sqlite:")
    await asyncio.to_thread(world.start, rate=f"{RATE}/s")
    async with Load(world.proxy.url, connections=50) as load:
        trial = Trial(world, load)
        async with trial.crowd(rate=0.6 * RATE):
            await load.accepts(100)
            async with trial.fault("another program's lock"), another_program(path, *WRITES) as pid:
                await load.hears(b"another program has locked")
                await asyncio.to_thread(
                    wait_until, lambda: not world.proxy.ready, "readiness to go", patience=5.0
                )
                assert log_check(world) == (
                    False, f"{path} is locked by another program: process {pid} ({name_of(pid)})"
                )  # fmt: skip
                for _ in range(400):  # some seconds of them
                    await load.hears(b"log-unavailable")
            await load.accepts(200)
            await asyncio.to_thread(world.proxy.await_ready)
        assert world.proxy.running
        history = await trial.history()
    record("another program's lock on the SQLite file", 1, history)
    assert max(one.at - one.began for one in load.told) < 10.0
    refused = [one for one in load.told if not one.accepted]
    assert {(one.status, one.json["type"]) for one in refused} == {
        (503, "urn:bufferproxy:problem:log-unavailable")
    }
    assert all(1 <= int(one.header(b"retry-after")) <= 10 for one in refused)
    assert repeats(history.attempts) == []
    assert history.complaints(rate=RATE) == []


def name_of(pid: int) -> str:
    with open(f"/proc/{pid}/comm") as file:
        return file.read().strip()


async def test_a_program_that_goes_on_reading_holds_up_nobody_and_is_named(sqlite_world: World) -> None:
    """The write-ahead log cannot begin anew meanwhile: it grows, and says so."""
    world = sqlite_world
    path = world.place.url.removeprefix("sqlite:")
    await asyncio.to_thread(world.start, rate="unlimited", body="1MiB")
    async with Load(world.proxy.url, connections=8) as load:
        async with another_program(path, *READS) as pid:
            told = await load.send(Sent(b"/n/%d" % n, os.urandom(400_000)) for n in range(400))
            assert all(one.accepted for one in told)
            slowest = sorted(one.at - one.began for one in told)[int(0.99 * len(told))]
            assert slowest < 1.5, "checkpoints wait for the reader"
            assert os.stat(f"{path}-wal").st_size > 1.5 * WAL_CAP
            ok, detail = await asyncio.to_thread(wait_until, lambda: warned(world), "the warning")
            assert ok
            assert f"process {pid} " in detail
        await asyncio.to_thread(wait_until, lambda: not log_check(world)[1], "the warning to go")
        told = await load.send(Sent(b"/after/%d" % n, b"x") for n in range(20))
        assert all(one.accepted for one in told)
        assert os.stat(f"{path}-wal").st_size <= WAL_CAP
    assert "grows" in world.proxy.output.read_text()
    await asyncio.to_thread(world.await_settled)


def warned(world: World) -> tuple[bool, str] | None:
    check = log_check(world)
    return check if check[1] else None


async def test_a_start_while_the_file_is_locked_says_who_has_it(sqlite_world: World) -> None:
    world = sqlite_world
    path = world.place.url.removeprefix("sqlite:")
    await asyncio.to_thread(world.start)
    world.proxy.terminate()
    async with another_program(path, *WRITES) as pid:
        await asyncio.to_thread(world.proxy.launch)
        assert await asyncio.to_thread(world.proxy.await_end) == 1
        assert f"locked by another program: process {pid} " in world.proxy.output.read_text()
        await asyncio.to_thread(world.proxy.launch)
        await asyncio.to_thread(
            wait_until, lambda: world.proxy.output.read_text().count("the start waits") == 2, "its warning"
        )
    await asyncio.to_thread(world.proxy.await_ready)


async def test_a_stop_while_the_file_is_locked_ends_and_loses_nothing(sqlite_world: World) -> None:
    world = sqlite_world
    path = world.place.url.removeprefix("sqlite:")
    world.settings["grace"] = "1s"
    await asyncio.to_thread(world.start)
    async with Load(world.proxy.url, connections=8) as load:
        told = await load.send(Sent(b"/n/%d" % n) for n in range(100))
    await asyncio.to_thread(world.await_settled)
    async with another_program(path, *WRITES):
        assert await asyncio.to_thread(world.proxy.terminate) == 0
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    await asyncio.to_thread(world.proxy.start)
    await asyncio.to_thread(world.await_settled)
    assert world.recorder.count() == len(told)
