"""The clock jumps by an hour: the machine was suspended, or somebody set the time of day."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from bufferproxy.clock import LOOK
from bufferproxy.records import State
from bufferproxy.testing.clock_jumps import HOUR, JUMPS, SOON, Sends, set_forward, suspended
from bufferproxy.testing.promises import beyond_ceiling

Make = Callable[..., Any]

BACKOFF = 100.0
"""Seconds: that of the worlds, without jitter."""

EACH = pytest.mark.parametrize("jump", JUMPS)
ORDERS = pytest.mark.parametrize("order", ["none", "key"])


@EACH
@ORDERS
@pytest.mark.parametrize("waited", [1.0, 0.9 * BACKOFF])
async def test_a_retry_waits_its_backoff_and_not_an_hour(
    drain_world: Make, jump: str, order: str, waited: float
) -> None:
    """With an order it does not look at the time of day at all. Without one it lies in the log: it may come
    early when the clock was set forward, and after twice its wait when it was set back."""
    world = drain_world(order)
    clock, sends = world.clock, Sends(world.service, world.clock)
    world.service.bad = {b"bad"}
    async with world.running():
        await world.accept(b"k", b"bad")
        await clock.advance(waited)
        world.service.bad = set()
        JUMPS[jump](clock)
        jumped_at = clock.now()
        await clock.advance(2 * BACKOFF + 2 * SOON)
        (first, _), (second, _) = sends.of(b"bad")
    if jump == "suspended" or order == "none":
        assert second <= (jumped_at + SOON if jump != "set back" else first + 2 * (BACKOFF + LOOK))
    else:
        assert first + BACKOFF <= second <= first + BACKOFF + 0.5


@EACH
@ORDERS
async def test_what_expires_does_so_by_the_time_of_day_that_is_found(
    drain_world: Make, jump: str, order: str
) -> None:
    world = drain_world(order)
    clock = world.clock
    async with world.running() as worker:
        world.pause(paused=True)
        for n in range(10):
            await world.accept(b"%d" % n, b"x%d" % n, lives=60_000)
        await clock.advance(5.0)
        JUMPS[jump](clock)
        await clock.advance(2.5)
        gone = 0 if jump == "set back" else 10
        assert (world.ended(State.EXPIRED), worker.open) == (gone, 10 - gone)
        world.pause(paused=False)
        await clock.advance(5.0)
        assert len(world.service.done) == 10 - gone


@ORDERS
async def test_a_jump_that_is_taken_back_before_anybody_looked_ends_nothing(
    drain_world: Make, order: str
) -> None:
    world = drain_world(order)
    clock, sends = world.clock, Sends(world.service, world.clock)
    async with world.running():
        world.pause(paused=True)
        for n in range(10):
            await world.accept(b"%d" % n, b"x%d" % n, lives=60_000)
        due_at = clock.wall() + 30.0
        await world.accept(b"k", b"later", delay=30_000, lives=600_000)
        await clock.advance(0.2)
        for seconds in (HOUR, -HOUR) * 3:
            set_forward(clock, seconds)
            await clock.advance(0.6)
            set_forward(clock, -seconds)
            await clock.advance(0.4)  # between the two is a look
        assert world.ended(State.EXPIRED) == 0
        world.pause(paused=False)
        await clock.advance(40.0)
        assert (world.ended(State.EXPIRED), len(world.service.done)) == (0, 11)
    assert sends.of(b"later")[0][1] >= due_at - 0.001


@pytest.mark.parametrize("seed", range(4))
async def test_no_jump_earns_more_than_the_burst(drain_world: Make, seed: int) -> None:
    random, rate = Random(seed), 20.0
    world = drain_world("none", rate=rate)
    clock, sends = world.clock, Sends(world.service, world.clock)
    async with world.running():
        await world.accept(None, *(b"%d" % n for n in range(400)))
        for _ in range(6):
            await clock.advance(random.uniform(0.1, 3.0))
            random.choice(list(JUMPS.values()))(clock)
        await clock.advance(25.0)
    assert len(sends.times) == 400
    for window in (0.1, 1.0, 5.0):
        assert not beyond_ceiling(sends.times, rate=rate, burst=1, window=window)


async def test_a_rest_that_was_slept_through_is_over(drain_world: Make) -> None:
    world = drain_world("none")
    async with world.running():
        world.pacer.asked(0.9 * HOUR, "503")
        await world.accept(None, b"a")
        await world.clock.advance(1.0)
        suspended(world.clock)
        await world.clock.advance(SOON)
        assert world.service.done == [b"a"]


async def test_an_attempt_that_was_slept_through_took_no_longer_than_its_timeout(drain_world: Make) -> None:
    """Else the service would be taken for one that needs an hour."""
    world = drain_world("none", timeout=30.0)
    world.service.talks.clear()
    async with world.running() as worker:
        await world.accept(None, b"a")
        await world.clock.advance(1.0)
        suspended(world.clock)
        world.service.talks.set()
        await world.clock.advance(1.0)
        assert worker.sender.tally.slowest == 30.0
