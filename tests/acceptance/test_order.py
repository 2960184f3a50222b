"""P4 and P6: one at a time and in order where that was asked for, and nobody else is held up by it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.promises import duplicates, key_order, nothing_lost, one_at_a_time

if TYPE_CHECKING:
    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance

SERVICE_TIME = 0.01


async def test_one_key_is_delivered_one_at_a_time_in_the_order_accepted(world: World) -> None:
    await asyncio.to_thread(world.start, order="key", concurrency=20)
    world.recorder.mode(delay=SERVICE_TIME)
    async with Load(world.proxy.url, connections=16) as load:
        told = await load.send_keyed(Sent(b"/k/%d" % n, key=b"key-%d" % (n % 40)) for n in range(4000))
    accepted = [(one.sent.key.decode(), one.id) for one in told if one.accepted]
    assert len(accepted) == 4000
    arrivals = await asyncio.to_thread(world.recorder.await_ids, [id_ for _, id_ in accepted])
    assert duplicates(arrivals) == 0
    assert key_order(accepted, arrivals) == []
    assert one_at_a_time(arrivals, SERVICE_TIME) == []


async def test_the_next_of_a_key_waits_for_the_retries_of_the_one_before(world: World) -> None:
    retry = {"attempts": 5, "first": "100ms", "jitter": "none"}
    await asyncio.to_thread(world.start, order="key", concurrency=20, retry=retry)
    world.recorder.mode(first=[500, 503], only="/bad")
    async with Load(world.proxy.url, connections=4) as load:
        sent = [Sent(b"/%b/%d" % (b"bad" if n % 5 == 0 else b"good", n), key=b"k") for n in range(20)]
        told = await load.send_keyed(sent)
    ids = [one.id for one in told if one.accepted]
    await asyncio.to_thread(world.recorder.await_count, 16 + 4 * 3)
    arrivals = sorted(world.recorder.arrivals())
    assert [arrival.id for arrival in arrivals] == [
        id_ for n, id_ in enumerate(ids) for _ in range(3 if n % 5 == 0 else 1)
    ]
    assert [arrival.attempt for arrival in arrivals[:3]] == [1, 2, 3]


async def test_strict_order_is_that_of_acceptance_for_the_whole_service(world: World) -> None:
    await asyncio.to_thread(world.start, order="strict", concurrency=20)
    world.recorder.mode(delay=0.002)
    async with Load(world.proxy.url, connections=1) as load:
        told = await load.send(Sent(b"/s/%d" % n, key=b"%d" % n) for n in range(500))
    ids = [one.id for one in told if one.accepted]
    arrivals = await asyncio.to_thread(world.recorder.await_ids, ids)
    assert [arrival.id for arrival in sorted(arrivals)] == ids
    assert one_at_a_time([arrival._replace(key="") for arrival in arrivals], 0.002) == []


async def test_a_stuck_request_and_a_hot_key_hold_up_nobody_else(world: World) -> None:
    await asyncio.to_thread(world.start, order="key", concurrency=20, timeout="60s")
    world.recorder.mode(stuck="/stuck/0", delay=SERVICE_TIME)
    async with Load(world.proxy.url, connections=16) as load:
        stuck = await load.send(Sent(b"/stuck/%d" % n, key=b"stuck") for n in range(1))
        behind = await load.send(Sent(b"/stuck/%d" % n, key=b"stuck") for n in range(1, 500))
        hot = asyncio.create_task(load.send(Sent(b"/hot/%d" % n, key=b"hot") for n in range(4000)))
        others = await load.send(Sent(b"/other/%d" % n, key=b"key-%d" % n) for n in range(1000))
        await hot
    ids = [one.id for one in others if one.accepted]
    assert len(ids) == 1000
    # The hot key alone takes 40 s: the others do not wait for its end.
    arrivals = await asyncio.to_thread(world.recorder.await_ids, ids, 30.0)
    came = {arrival.id for arrival in arrivals}
    assert nothing_lost([one.id for one in stuck], arrivals) == []
    assert came.isdisjoint(one.id for one in behind)
    assert sum(arrival.key == "hot" for arrival in arrivals) < 4000
