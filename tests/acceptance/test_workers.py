"""Workers that come and go on Kafka: nothing is lost, order and the one ceiling hold."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.processes import wait_until
from bufferproxy.testing.promises import duplicates, fullest, key_order, nothing_lost, over_ceiling

if TYPE_CHECKING:
    from bufferproxy.testing.world import World

pytestmark = [pytest.mark.acceptance, pytest.mark.kafka]

RATE = 500
TOTAL = 10_000


async def test_a_worker_joins_and_one_leaves_while_keys_drain(kafka_world: World) -> None:
    world = await asyncio.to_thread(kafka_world.start, order="key", rate=f"{RATE}/s")
    first = world.worker
    async with Load(world.proxy.url, connections=50) as load:
        told = await load.send_keyed(Sent(b"/k/%d" % n, key=b"key-%d" % (n % 100)) for n in range(TOTAL))
    accepted = [(one.sent.key.decode(), one.id) for one in told if one.accepted]
    assert len(accepted) == TOTAL
    await asyncio.to_thread(world.recorder.await_count, TOTAL // 10)

    second = await asyncio.to_thread(world.add_worker)
    await asyncio.to_thread(wait_until, lambda: _held(second) > 0, "the second worker to hold partitions")
    shared_from = world.recorder.count()
    await asyncio.to_thread(world.recorder.await_count, shared_from + TOTAL // 5)
    assert _held(first) > 0

    assert await asyncio.to_thread(first.terminate) == 0
    arrivals = await asyncio.to_thread(world.recorder.await_ids, [id_ for _, id_ in accepted], 90.0)
    assert nothing_lost([id_ for _, id_ in accepted], arrivals) == []
    assert duplicates(arrivals) == 0
    assert key_order(accepted, arrivals) == []
    times = [arrival.at for arrival in arrivals]
    for window in (0.1, 1.0, 5.0):
        print(f"\nat most {fullest(times, window)} in {window:g} s", end="")
        assert over_ceiling(times, rate=RATE, burst=1, window=window) == []


def _held(worker: object) -> float:
    metrics = worker.metrics()  # type: ignore[attr-defined]
    return float(metrics['bufferproxy_worker_partitions{service="orders"}'])
