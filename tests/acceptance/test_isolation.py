"""P6: a service that is dead and one that is slow cost a healthy one beside them nothing."""

from __future__ import annotations

import asyncio
import time
from itertools import count
from typing import TYPE_CHECKING

import pytest

from bufferproxy.clock import SystemClock
from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance

RATE, OFFERED = 100, 150
"""Per second: a spike, so that there is a queue to have time in."""


async def test_a_dead_and_a_slow_service_do_not_lengthen_the_queue_of_a_healthy_one(
    world: World, times: Callable[[int, int], int]
) -> None:
    total = times(1000, 3000)
    world.beside = {
        "dead": {"to": f"http://127.0.0.1:{free_port()}", "match": {"path": "/dead"}, "rate": "1000/s"},
        "slow": {"to": world.recorder.url, "match": {"path": "/slow"}, "rate": "1000/s", "concurrency": 20},
    }
    await asyncio.to_thread(world.start, rate=f"{RATE}/s", backlog={"wait": "1h"})
    world.recorder.mode(delay=2.0, only="/slow")
    async with Load(world.proxy.url, connections=40) as load, Load(world.proxy.url) as neighbours:
        await _spike(world, load, b"/first/%d", 50)  # a worker on Kafka sends nothing in its first seconds
        alone = await _spike(world, load, b"/alone/%d", total)
        troubled = asyncio.create_task(neighbours.send(_of_both(), rate=OFFERED))
        await neighbours.accepts(300)
        for _ in range(3):  # a machine that is busy with others can only make it longer
            beside = await _spike(world, load, b"/beside/%d", total)
            print(f"\np99 of the time in queue: alone {alone:.3f} s, beside them {beside:.3f} s", end="")
            if beside <= 1.1 * alone:
                break
        troubled.cancel()
    assert world.sum("throttled_seconds_total", service="dead", reason="retry_after") > 0
    assert world.sum("backlog_requests", service="slow") >= 20, "it is busy all the time"
    assert beside <= 1.1 * alone


async def _spike(world: World, load: Load, target: bytes, total: int) -> float:
    """The time in queue at p99, in seconds: from the 202 to the first byte at the service."""
    told = await load.send((Sent(target % n) for n in range(total)), rate=OFFERED)
    epoch = time.time() - SystemClock.now()
    accepted = {one.id: one.at + epoch for one in told if one.accepted}
    assert len(accepted) == total
    arrivals = await asyncio.to_thread(world.recorder.await_ids, list(accepted))
    waits = sorted(arrival.at - accepted[arrival.id] for arrival in arrivals if arrival.id in accepted)
    return waits[len(waits) * 99 // 100]


def _of_both():  # type: ignore[no-untyped-def]
    return (Sent(b"/dead/%d" % n if n % 2 else b"/slow/%d" % n) for n in count())
