"""P1 and P9: kill -9 under load. What was accepted is delivered, and repeated only where it was under way."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.crowd import Trial
from bufferproxy.testing.load import Load
from bufferproxy.testing.promises import duplicates
from bufferproxy.testing.world import World, kafka_place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bufferproxy.testing.kafka_broker import Broker
    from bufferproxy.testing.processes import Process

pytestmark = pytest.mark.acceptance

RATE = 1000
CONCURRENCY = 20
UNCOMMITTED = 0.2
"""Seconds of work that a kill may repeat: 0.1 s between two commits, and as much again until the results of
what was answered and then the commit itself are durable."""
REPEATED = CONCURRENCY + int(RATE * UNCOMMITTED)
"""By each kill: what was in flight, and what was answered and not yet committed."""


async def test_what_was_accepted_survives_kill_9_of_the_only_process(
    sqlite_world: World, times: Callable[[int, int], int]
) -> None:
    world = await asyncio.to_thread(sqlite_world.start, rate=f"{RATE}/s", concurrency=CONCURRENCY)
    await _kill_under_load(world, world.proxy, times(10, 50))


@pytest.mark.kafka
async def test_what_was_accepted_survives_kill_9_of_the_proxy(
    kafka_world: World, times: Callable[[int, int], int]
) -> None:
    world = await asyncio.to_thread(kafka_world.start, rate=f"{RATE}/s", concurrency=CONCURRENCY)
    await _kill_under_load(world, world.proxy, times(5, 20), repeated=0)


@pytest.mark.kafka
async def test_what_was_accepted_survives_kill_9_of_the_worker(
    kafka_world: World, times: Callable[[int, int], int]
) -> None:
    world = await asyncio.to_thread(kafka_world.start, rate=f"{RATE}/s", concurrency=CONCURRENCY)
    await _kill_under_load(world, world.worker, times(5, 20))


@pytest.mark.kafka
async def test_what_was_accepted_survives_kill_9_of_the_broker(
    tmp_path: Path, fresh_broker: Broker, times: Callable[[int, int], int]
) -> None:
    with World(tmp_path, kafka_place(fresh_broker.bootstrap, "t")) as world:
        await asyncio.to_thread(world.start, rate=f"{RATE}/s", concurrency=CONCURRENCY)
        await _kill_under_load(world, fresh_broker, times(2, 5))


async def _kill_under_load(
    world: World, victim: Process | Broker, kills: int, repeated: int = REPEATED
) -> None:
    """Each kill at a moment of its own; `repeated` requests may arrive twice for each."""
    async with Load(world.proxy.url, connections=50) as load:
        trial = Trial(world, load)
        async with trial.crowd(rate=0.5 * RATE):
            for _ in range(kills):
                await load.accepts(random.randint(100, 500))
                async with trial.fault("kill -9", repeated):
                    if victim is world.proxy:
                        load.up.clear()
                    await asyncio.to_thread(victim.kill)
                    await asyncio.to_thread(victim.start)
                    load.up.set()
            await load.accepts(500)
        history = await trial.history(lost_after=90.0)
    arrivals = history.attempts
    print(
        f"\n{len(load.told)} sent, {load.accepted} accepted, {Counter(one.status for one in load.told)};"
        f" {len(arrivals)} arrivals, {duplicates(arrivals)} repeated over {kills} kills, each may {repeated}",
        end="",
    )
    assert history.complaints() == []
    assert duplicates(arrivals) <= kills * repeated
