"""Workers that come and go on Kafka: nothing is lost, order and the one ceiling hold."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bufferproxy.ids import parse_id
from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.processes import wait_until
from bufferproxy.testing.promises import duplicates, fullest, key_order, nothing_lost, over_ceiling

if TYPE_CHECKING:
    from bufferproxy.testing.processes import Bufferproxy
    from bufferproxy.testing.world import World

pytestmark = [pytest.mark.acceptance, pytest.mark.kafka]

RATE = 500
TOTAL = 10_000
KEYS = 100


async def test_a_worker_joins_and_one_leaves_while_keys_drain(kafka_world: World) -> None:
    world = await asyncio.to_thread(kafka_world.start, order="key", rate=f"{RATE}/s")
    first = world.worker
    world.recorder.down()  # until all is accepted: what is to be seen is a backlog that drains
    async with Load(world.proxy.url, connections=100) as load:
        told = await load.send(Sent(b"/k/%d" % n, key=b"key-%d" % (n % KEYS)) for n in range(TOTAL))
    accepted = sorted(((one.sent.key.decode(), one.id) for one in told if one.accepted), key=_place)
    assert len(accepted) == TOTAL
    world.recorder.up()
    await asyncio.to_thread(world.recorder.await_count, TOTAL // 20)

    second = await asyncio.to_thread(world.add_worker)
    await asyncio.to_thread(wait_until, lambda: _held(second) > 0, "the second worker to hold partitions")
    assert _held(first) > 0
    shared_from = world.recorder.count()
    await asyncio.to_thread(world.recorder.await_count, shared_from + TOTAL // 10)
    assert world.recorder.count() < TOTAL, "nothing was left to hand over"
    assert await asyncio.to_thread(first.terminate) == 0

    ids = [id_ for _, id_ in accepted]
    arrivals = await asyncio.to_thread(world.recorder.await_ids, ids, 90.0)
    assert nothing_lost(ids, arrivals) == []
    assert key_order(accepted, arrivals) == []
    times = [arrival.at for arrival in arrivals]
    for window in (0.1, 1.0, 5.0):
        print(f"\nat most {fullest(times, window)} in {window:g} s", end="")
        assert over_ceiling(times, rate=RATE, burst=1, window=window) == []
    assert duplicates(arrivals) == 0, "a hand-over in order repeats nothing"


def _place(accepted: tuple[str, str]) -> tuple[int, int]:
    """Where it was accepted: the order of a key is that of the log."""
    identity = parse_id(accepted[1])
    assert identity is not None
    return identity.partition, identity.offset


def _held(worker: Bufferproxy) -> float:
    """Partitions."""
    return worker.metrics()['bufferproxy_worker_partitions{service="orders"}']
