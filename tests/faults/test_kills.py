"""kill -9 of the proxy while callers wait for their 202, and a stop in order that is not given its time."""

from __future__ import annotations

import asyncio
import random
import signal
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.crowd import Trial
from bufferproxy.testing.load import Load
from bufferproxy.testing.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from bufferproxy.testing.history import History
    from bufferproxy.testing.processes import Bufferproxy
    from bufferproxy.testing.world import World

pytestmark = [pytest.mark.acceptance]

CALLERS = 200
RATE = 2000
CONCURRENCY = 20
REPEATED = CONCURRENCY + int(RATE * 0.2)


async def test_kill_9_of_the_proxy_while_200_callers_wait_for_their_202(
    world: World, times: Callable[[int, int], int], record: Callable[[str, int, History], None]
) -> None:
    """Each gets a 202 that holds, or nobody knows: never a refusal of what is delivered all the same."""
    kills = times(4, 500)
    await asyncio.to_thread(world.start, rate=f"{RATE}/s", concurrency=CONCURRENCY)
    async with Load(world.proxy.url, connections=CALLERS) as load:
        trial = Trial(world, load)
        async with trial.crowd():
            for _ in range(kills):
                await load.accepts(random.randint(1, 1000))
                await trial.kill(world.proxy.name, repeats=0 if world.place.kafka else REPEATED)
            await load.accepts(CALLERS)
        history = await trial.history(patience=120.0)
    record(f"kill -9 of the proxy, {CALLERS} callers", kills, history)
    assert history.complaints(rate=RATE) == []


async def test_sigterm_under_load_twice_then_sigkill(
    world: World, times: Callable[[int, int], int], record: Callable[[str, int, History], None]
) -> None:
    """The second SIGTERM neither hastens nor breaks the stop; the kill comes in the middle of it."""
    stops = times(2, 100)
    await asyncio.to_thread(world.start, rate="500/s", concurrency=CONCURRENCY, timeout="5s")
    world.recorder.mode(stuck="/n/0")  # so that there is something to wait for
    async with Load(world.proxy.url, connections=50) as load:
        trial = Trial(world, load)
        async with trial.crowd(rate=400):
            for _ in range(stops):
                await load.accepts(200)
                async with trial.fault("SIGTERM twice, SIGKILL", REPEATED):
                    load.up.clear()
                    for process in world.processes:
                        await asyncio.to_thread(_stop_twice_and_kill, process)
                    for process in world.processes:
                        await asyncio.to_thread(process.start)
                    load.up.set()
            world.recorder.mode(stuck="")
            await load.accepts(100)
        history = await trial.history(patience=120.0)
    record("SIGTERM twice, then SIGKILL", stops, history)
    assert history.complaints(rate=500) == []


def _stop_twice_and_kill(process: Bufferproxy) -> None:
    process.signal(signal.SIGTERM)
    wait_until(lambda: not process.ready, f"{process.name} to begin its stop", every=0.01)
    process.signal(signal.SIGTERM)
    process.kill()
