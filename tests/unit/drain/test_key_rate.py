"""No key is sent more often than its rate allows, and no other key waits for it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

Make = Callable[..., Any]


@pytest.mark.parametrize("order", ["none", "key"])
async def test_a_busy_key_keeps_its_distance_and_others_pass(drain_world: Make, order: str) -> None:
    world = drain_world(order, key_rate=2.0)
    async with world.running() as worker:
        await world.accept(b"busy", *[b"b%d" % n for n in range(60)])
        await world.accept(b"calm", b"c0")
        await world.clock.advance(1.0)
        assert b"c0" in world.service.done
        await world.clock.advance(120.0)
        times = [at for body, at in world.service.sent if body.startswith(b"b")]
        assert len(times) == 60
        assert all(after - before >= 0.49 for before, after in pairwise(times))
        assert times[-1] - times[0] < 60 * 0.5 * 1.6
        assert worker.open == 0


async def test_ordered_ones_keep_their_order_too(drain_world: Make) -> None:
    world = drain_world("key", key_rate=10.0)
    async with world.running():
        await world.accept(b"k", *[b"%d" % n for n in range(50)])
        await world.clock.advance(10.0)
    assert world.service.done == [b"%d" % n for n in range(50)]


async def test_requests_without_a_key_are_not_held_back(drain_world: Make) -> None:
    world = drain_world("none", key_rate=0.001)
    async with world.running():
        await world.accept(None, *[b"%d" % n for n in range(50)])
        await world.clock.advance(1.0)
    assert len(world.service.done) == 50


async def test_what_waits_in_the_tiers_for_its_key_is_written_a_few_times_however_many_wait(
    drain_world: Make,
) -> None:
    world = drain_world("none", key_rate=1.0)
    async with world.running() as worker:
        await world.accept(b"busy", *[b"b%d" % n for n in range(60)])
        await world.clock.advance(120.0)
        assert (worker.open, len(world.service.done)) == (0, 60)
        lag = await world.log.lag(world.names.group, (world.names.delayed,))
        written = sum(one.end for one in lag.values())
        assert written <= 60 * 6, "a hop for each factor of four of the wait"
