"""The disk fails under SQLite: strace makes the n-th system call fail, in the real process."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.crowd import Trial
from bufferproxy.testing.load import Load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bufferproxy.testing.history import History
    from bufferproxy.testing.world import World

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("strace")]

RATE = 300
CONCURRENCY = 20
REPEATED = CONCURRENCY + int(RATE * 0.3)
STORAGE_FAILED = 1
"""Exit code of a process whose log failed it."""


def failing(calls: str, error: str, when: str) -> tuple[str, ...]:
    """A command before bufferproxy's. `-D`: bufferproxy stays the child, and strace goes with it."""
    return (
        "strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", f"trace={calls}",
        "-e", f"inject={calls}:error={error}:when={when}",
    )  # fmt: skip


@contextlib.asynccontextmanager
async def failing_in(pid: int, calls: str, error: str, when: str) -> AsyncIterator[None]:
    """The same of a process that runs, for a while."""
    tracer = await asyncio.create_subprocess_exec(
        "strace", "-f", "-qq", "-o", "/dev/null", "-p", str(pid), "-e", f"trace={calls}",
        "-e", f"inject={calls}:error={error}:when={when}",
    )  # fmt: skip
    try:
        yield
    finally:
        tracer.terminate()
        await tracer.wait()


async def test_an_fsync_that_fails_ends_the_process_and_loses_nothing(
    sqlite_world: World, times: Callable[[int, int], int], record: Callable[[str, int, History], None]
) -> None:
    """It is never tried again: what the system said to have written may be gone."""
    world, faults = sqlite_world, times(1, 30)
    await asyncio.to_thread(world.start, rate=f"{RATE}/s", concurrency=CONCURRENCY)
    async with Load(world.proxy.url, connections=50) as load:
        trial = Trial(world, load)
        async with trial.crowd(rate=0.6 * RATE):
            for _ in range(faults):
                world.proxy.prefix = failing("fsync,fdatasync", "EIO", str(random.randint(15, 60)))
                await trial.kill("run", repeats=REPEATED)
                async with trial.fault("fsync: EIO", REPEATED):
                    assert await asyncio.to_thread(world.proxy.await_end) == STORAGE_FAILED
                    world.proxy.prefix = ()
                    await asyncio.to_thread(world.proxy.start)
                await load.accepts(50)
        history = await trial.history()
    record("fsync fails with EIO", faults, history)
    assert history.complaints(rate=RATE) == []


@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT"])
async def test_writes_for_which_there_is_no_room_are_refused_and_the_process_stays(
    error: str,
    sqlite_world: World,
    times: Callable[[int, int], int],
    record: Callable[[str, int, History], None],
) -> None:
    """Whichever write of a transaction it is that fails, on a full disk and with a quota used up."""
    world, faults = sqlite_world, times(10, 60)
    await asyncio.to_thread(world.start, rate=f"{RATE}/s", concurrency=CONCURRENCY)
    async with Load(world.proxy.url, connections=50) as load:
        trial = Trial(world, load)
        async with trial.crowd(rate=0.6 * RATE):
            for _ in range(faults):
                # Not from its start: a process that finds no room there ends, and says so.
                first = random.randint(1, 50)
                async with failing_in(world.proxy.pid, "pwrite64", error, f"{first}..{first + 100}"):
                    await load.hears(b"storage-full")
                await load.accepts(50)
                assert world.proxy.running
        history = await trial.history()
    record(f"pwrite fails with {error}", faults, history)
    assert history.complaints(rate=RATE) == []
