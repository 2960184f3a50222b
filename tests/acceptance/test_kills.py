"""P1 and P9: kill -9 under load. What was accepted is delivered, and repeated only where it was under way."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from itertools import count, takewhile
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.promises import (
    Arrival,
    as_told,
    duplicates,
    nothing_invented,
    nothing_lost,
    same_id,
    unchanged,
)
from bufferproxy.testing.world import World, kafka_place

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from bufferproxy.testing.kafka_broker import Broker
    from bufferproxy.testing.load import Told
    from bufferproxy.testing.processes import Process

pytestmark = pytest.mark.acceptance

RATE = 1000
CONCURRENCY = 20
UNCOMMITTED = 0.2
"""Seconds of work that a kill may repeat: 0.1 s between two commits, and as much again until the results of
what was answered and then the commit itself are durable."""
REPEATED = CONCURRENCY + int(RATE * UNCOMMITTED)
"""By each kill: what was in flight, and what was answered and not yet committed."""


class Crowd:
    """Callers who go on until they are told to stop, and whose requests tell each other apart."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self._stop = False
        self._sent: list[Sent] = []

    def _requests(self) -> Iterator[Sent]:
        for n in takewhile(lambda _: not self._stop, count()):
            self._sent.append(Sent(b"/n/%d" % n, b"%d" % n * (n % 50)))
            yield self._sent[-1]

    async def during(self, faults: Awaitable[None], rate: float) -> list[Told]:
        """All answers, from before the faults until after them."""
        calling = asyncio.create_task(self.load.send(self._requests(), rate=rate))
        try:
            await faults
        finally:
            self._stop = True
            self.load.up.set()
            await calling
        return calling.result()

    def complaints(self, told: list[Told], arrivals: list[Arrival]) -> list[str]:
        """All that no fault excuses."""
        accepted = [(one.sent.target.decode(), one.id) for one in told if one.accepted]
        return [
            *nothing_lost([id_ for _, id_ in accepted], arrivals),
            *nothing_invented((sent.target.decode() for sent in self._sent), arrivals),
            *same_id(arrivals),
            *as_told(accepted, arrivals),
            *unchanged(((sent.target.decode(), sent.body) for sent in self._sent), arrivals),
        ]


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

        async def kill_again_and_again() -> None:
            for _ in range(kills):
                await load.accepts(random.randint(100, 500))
                if victim is world.proxy:
                    load.up.clear()
                await asyncio.to_thread(victim.kill)
                await asyncio.to_thread(victim.start)
                load.up.set()
            await load.accepts(500)

        crowd = Crowd(load)
        told = await crowd.during(kill_again_and_again(), rate=0.5 * RATE)
    ids = [one.id for one in told if one.accepted]
    await asyncio.to_thread(world.recorder.await_ids, ids, 90.0)
    await asyncio.to_thread(world.await_settled)
    arrivals = world.recorder.arrivals()
    accepted = sum(one.accepted for one in told)
    print(
        f"\n{len(told)} sent, {accepted} accepted, {Counter(one.status for one in told)};"
        f" {len(arrivals)} arrivals, {duplicates(arrivals)} repeated over {kills} kills, each may {repeated}",
        end="",
    )
    assert crowd.complaints(told, arrivals) == []
    assert duplicates(arrivals) <= kills * repeated
