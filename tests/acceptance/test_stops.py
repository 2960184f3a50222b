"""A stop in order is no fault: nothing is repeated after it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.promises import duplicates

if TYPE_CHECKING:
    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance


async def test_a_stop_between_two_requests_repeats_nothing(world: World) -> None:
    await asyncio.to_thread(world.start, rate="500/s")
    async with Load(world.proxy.url, connections=20) as load:
        told = await load.send(Sent(b"/x/%d" % n) for n in range(2000))
        await asyncio.to_thread(world.recorder.await_count, 500)
        for process in world.processes:
            assert await asyncio.to_thread(process.terminate) == 0
        assert world.recorder.count() < 2000
        for process in world.processes:
            await asyncio.to_thread(process.start)
    arrivals = await asyncio.to_thread(world.recorder.await_ids, [one.id for one in told if one.accepted])
    assert duplicates(arrivals) == 0


async def test_a_stop_repeats_only_what_it_cut_off(world: World) -> None:
    """One request hangs in the service beyond `grace`; all that came after it has long been delivered."""
    world.settings["grace"] = "1s"
    await asyncio.to_thread(world.start)
    world.recorder.mode(stuck="/stuck")
    async with Load(world.proxy.url, connections=20) as load:
        stuck = await load.one(Sent(b"/stuck"))
        await asyncio.to_thread(world.recorder.await_count, 1)
        told = await load.send(Sent(b"/x/%d" % n) for n in range(500))
        await asyncio.to_thread(world.recorder.await_count, 501)
        for process in world.processes:
            assert await asyncio.to_thread(process.terminate) == 0
        world.recorder.mode(stuck="")
        for process in world.processes:
            await asyncio.to_thread(process.start)
        await asyncio.to_thread(world.recorder.await_count, 502)
        await asyncio.to_thread(world.await_settled)
    times = Counter(arrival.id for arrival in world.recorder.arrivals())
    assert times[stuck.id] == 2
    assert {times[one.id] for one in told} == {1}
