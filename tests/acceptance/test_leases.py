"""P3 over many workers: one ceiling, whoever comes, goes, dies or freezes, and whoever leads."""

from __future__ import annotations

import asyncio
import signal
import time
from itertools import cycle
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.processes import wait_until
from bufferproxy.testing.promises import fullest, nothing_lost, over_ceiling, used

if TYPE_CHECKING:
    from collections.abc import Callable

    from bufferproxy.testing.processes import Bufferproxy
    from bufferproxy.testing.world import World

pytestmark = [pytest.mark.acceptance, pytest.mark.kafka, pytest.mark.timeout(400)]

WINDOWS = (0.1, 1.0, 5.0, 60.0)
HOT = 8
"""Of ten requests, so many have one key: one partition gets four fifths of the traffic."""


def workload(count: int) -> list[Sent]:
    return [Sent(b"/k/%d" % n, key=b"hot" if n % 10 < HOT else b"key-%d" % n) for n in range(count)]


def partitions(worker: Bufferproxy) -> float:
    return worker.metrics()['bufferproxy_worker_partitions{service="orders"}']


@pytest.mark.parametrize("rate", [500, 20])
async def test_workers_come_go_die_and_freeze_under_one_ceiling(
    kafka_world: World, rate: int, times: Callable[[int, int], int], long: bool
) -> None:
    count, workers = rate * times(24, 90), times(3, 6)
    world = kafka_world
    world.place.settings["kafka"]["partitions"] = 12
    await asyncio.to_thread(world.start, rate=f"{rate}/s", order="none", key_rate="1000000/s")
    for _ in range(workers - 1):
        await asyncio.to_thread(world.add_worker)
    for worker in world.workers:
        await asyncio.to_thread(wait_until, lambda w=worker: partitions(w) > 0, "every worker to hold some")
    async with Load(world.proxy.url, connections=50) as load:
        told = await load.send(workload(count))
    ids = [one.id for one in told if one.accepted]
    assert len(ids) == count

    frozen = 0
    steps = cycle(("join", "kill", "freeze", "leave"))
    for step in (next(steps) for _ in range(times(4, 12))):
        done = world.recorder.count()
        if done > count * 0.8:
            break
        running = [worker for worker in world.workers if worker.running]
        match step:
            case "join":
                await asyncio.to_thread(world.add_worker)
            case "kill":
                await asyncio.to_thread(running[0].kill)  # the first to come is the first to lead
            case "freeze":
                frozen += 1
                running[0].signal(signal.SIGSTOP)
                await asyncio.to_thread(world.recorder.await_count, min(count, done + 3 * rate), 60.0)
                running[0].signal(signal.SIGCONT)
            case "leave":
                assert await asyncio.to_thread(running[-1].terminate) == 0
        await asyncio.to_thread(world.recorder.await_count, min(count, done + 4 * rate), 90.0)
    arrivals = await asyncio.to_thread(world.recorder.await_ids, ids, 120.0)
    assert nothing_lost(ids, arrivals) == []
    stamps = [arrival.at for arrival in arrivals]
    for window in WINDOWS:
        print(f"\nat most {fullest(stamps, window)} in {window:g} s", end="")
        # A process frozen between its check and the write may add one attempt, once.
        assert over_ceiling(stamps, rate=rate, burst=1 + frozen, window=window) == []
    if long:
        assert used(stamps, rate) > 0.5, "with this many faults"


async def test_the_share_of_a_killed_worker_is_used_by_others_soon(kafka_world: World) -> None:
    rate, count = 100, 3000
    world = kafka_world
    await asyncio.to_thread(world.start, rate=f"{rate}/s")
    await asyncio.to_thread(world.add_worker)
    for worker in world.workers:
        await asyncio.to_thread(wait_until, lambda w=worker: partitions(w) > 0, "every worker to hold some")
    async with Load(world.proxy.url, connections=50) as load:
        told = await load.send(Sent(b"/k/%d" % n) for n in range(count))
    assert all(one.accepted for one in told)
    await asyncio.to_thread(world.recorder.await_count, 500)
    killed_at = time.time()
    await asyncio.to_thread(world.workers[0].kill)
    # Its partitions come over when its session has run out; the rate is the others' long before.
    before = world.recorder.count()
    await asyncio.to_thread(world.recorder.await_count, before + 6 * rate, 60.0)
    stamps = sorted(arrival.at for arrival in world.recorder.arrivals())
    assert over_ceiling(stamps, rate=rate, burst=1, window=1.0) == []
    later = [at for at in stamps if killed_at + 4.0 <= at < killed_at + 6.0]
    print(f"\n{len(later) / 2:g}/s from the 4th to the 6th second after the kill", end="")
    assert later, "nothing was delivered"
