"""kill -9 at every place where something could be lost or done twice, not only at a random time."""

from __future__ import annotations

import asyncio
import random
from math import inf
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.crash_points import POINTS
from bufferproxy.testing.crowd import Trial
from bufferproxy.testing.load import Load

if TYPE_CHECKING:
    from collections.abc import Callable

    from bufferproxy.testing.history import History
    from bufferproxy.testing.world import World

pytestmark = [pytest.mark.acceptance]

RATE = 300
CONCURRENCY = 20
REPEATED = CONCURRENCY + int(RATE * 0.3)


@pytest.mark.parametrize("point", POINTS)
async def test_a_crash_at(
    world: World,
    point: str,
    times: Callable[[int, int], int],
    record: Callable[[str, int, History], None],
) -> None:
    crashes = times(1, 30 if world.place.kafka else 100)
    retrying = point == "during-retry"
    retry = {"attempts": 5, "first": "300ms", "jitter": "none", "budget": "100%"}
    victim = "proxy" if world.place.kafka and point == "before-acknowledge" else ""
    victim = victim or ("worker-0" if world.place.kafka else "run")
    world.mutants[victim] = _mutant(point)
    await asyncio.to_thread(world.start, rate=f"{RATE}/s", concurrency=CONCURRENCY, retry=retry)
    world.recorder.mode(first=[500] if retrying else [])
    process = next(one for one in world.processes if one.name == victim)
    async with Load(world.proxy.url, connections=50) as load:
        trial = Trial(world, load)
        async with trial.crowd(rate=(0.4 if retrying else 0.6) * RATE):  # each of these is sent twice
            for left in reversed(range(crashes)):
                # A crash during a retry leaves the request twice: what it was copied from comes again.
                lasts, twice = (inf, 2) if retrying else (0.0, 1)
                async with trial.fault(point, REPEATED * twice, lasts=lasts):
                    assert await asyncio.to_thread(process.await_end) == -9
                    process.mutant = _mutant(point) if left else ""
                    await asyncio.to_thread(process.launch)
            await asyncio.to_thread(process.await_ready)
            await load.accepts(50)
        history = await trial.history()
    record(f"crash {point} of {victim}", crashes, history)
    assert history.complaints(rate=RATE) == []


def _mutant(point: str) -> str:
    # Leases are written down at once: the first commits come before it is ready.
    first, last = (5, 20) if point == "before-commit" else (1, 100)
    return f"{point}:{random.randint(first, last)}"
