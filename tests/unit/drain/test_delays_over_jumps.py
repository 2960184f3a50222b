"""What is delayed, while the machine is suspended for an hour or somebody sets the time of day by one."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from bufferproxy.testing.clock_jumps import HOUR, JUMPS, SOON, Sends, set_back, set_forward, until

Make = Callable[..., Any]

EACH = pytest.mark.parametrize("jump", JUMPS)
ORDERS = pytest.mark.parametrize("order", ["none", "key"])


async def accept(world: Any, name: bytes, delay: float) -> float:
    """The time of day when it is due."""
    await world.accept(b"key of " + name, name, delay=round(delay * 1000))
    return float(world.clock.wall() + delay)


@EACH
@ORDERS
@pytest.mark.parametrize("seed", range(2))
async def test_what_is_delayed_is_sent_at_its_time_of_day(
    drain_world: Make, jump: str, order: str, seed: int
) -> None:
    """Never before; and what comes due by the jump itself, soon after it."""
    random = Random(f"{jump} {order} {seed}")
    world = drain_world(order)
    clock, sends = world.clock, Sends(world.service, world.clock)
    async with world.running() as worker:
        delays = [random.choice((1, 10, 60)) * random.random() + 1 for _ in range(12)]
        dues = {b"%d" % n: await accept(world, b"%d" % n, delay) for n, delay in enumerate(delays)}
        await clock.advance(random.uniform(0, 60))
        JUMPS[jump](clock)
        jumped_at = clock.now()
        await until(clock, max(dues.values()))
        await clock.advance(SOON)
        assert worker.open == 0
    for body, due_at in dues.items():
        ((now, wall),) = sends.of(body)
        assert wall >= due_at - 0.001
        assert wall <= due_at + 0.5 or 0 <= now - jumped_at <= SOON


@ORDERS
async def test_a_delay_does_not_notice_a_clock_that_was_wrong_for_a_moment(
    drain_world: Make, order: str
) -> None:
    """Forward or back: what is not due by the wrong clock either is sent when it is by the right one."""
    for wrong in (HOUR, -HOUR):
        world = drain_world(order)
        clock, sends = world.clock, Sends(world.service, world.clock)
        async with world.running():
            later = 2 * HOUR if wrong > 0 else 30.0
            due_at = await accept(world, b"a", later)
            await clock.advance(20.0)
            set_forward(clock, wrong)
            await clock.advance(SOON)
            set_forward(clock, -wrong)
            await until(clock, due_at + SOON)
        ((_, wall),) = sends.of(b"a")
        assert due_at - 0.001 <= wall <= due_at + SOON


async def test_nobody_waits_behind_what_came_while_the_clock_was_an_hour_ahead(drain_world: Make) -> None:
    """More of it than a tier holds in memory: until it is out of the way, nobody sees what lies behind."""
    world = drain_world("none")
    clock, sends = world.clock, Sends(world.service, world.clock)
    async with world.running():
        set_forward(clock)
        ahead = [await accept(world, b"ahead %d" % n, 20.0) for n in range(300)]
        set_back(clock)
        await clock.advance(20.0)
        dues = {}
        for n in range(5):
            dues[b"%d" % n] = await accept(world, b"%d" % n, 20.0)
            await clock.advance(5.0)
        await clock.advance(30.0)
        for body, due_at in dues.items():
            ((_, wall),) = sends.of(body)
            assert due_at - 0.001 <= wall <= due_at + SOON
        assert not sends.of(b"ahead 0"), "its moment was named by a clock that was wrong: it stays"
        await until(clock, ahead[299] + SOON)
        ((_, wall),) = sends.of(b"ahead 299")
        assert wall >= ahead[299] - 0.001


async def test_who_was_moved_while_the_clock_was_an_hour_behind_comes_in_its_time(drain_world: Make) -> None:
    """It lies in a tier of 17 minutes by then, behind others whose moment is far."""
    world = drain_world("none")
    clock, sends = world.clock, Sends(world.service, world.clock)
    async with world.running():
        for n in range(20):
            await accept(world, b"far %d" % n, 0.9 * HOUR)
        due_at = await accept(world, b"soon", 90.0)
        await clock.advance(1.0)
        set_back(clock)
        await clock.advance(3 * SOON)
        set_forward(clock)
        await clock.advance(100.0)
    ((_, wall),) = sends.of(b"soon")
    assert due_at - 0.001 <= wall <= due_at + SOON


async def test_what_was_nearly_due_lets_its_tier_go_when_the_clock_is_set_back(drain_world: Make) -> None:
    world = drain_world("none")
    clock, sends = world.clock, Sends(world.service, world.clock)
    async with world.running():
        for n in range(300):
            await accept(world, b"nearly %d" % n, 0.2)
        await clock.advance(0.1)
        set_back(clock)
        await clock.advance(SOON)
        due_at = await accept(world, b"next", 0.3)
        await clock.advance(1.0)
        ((_, wall),) = sends.of(b"next")
        assert due_at - 0.001 <= wall <= due_at + 0.5
        assert not sends.of(b"nearly 0")
