"""Whoever is cancelled while it waits for its turn takes neither the token nor the right to probe with it."""

from __future__ import annotations

import asyncio
import math

import pytest

from bufferproxy.drain.pacer import Pacer
from bufferproxy.policy.bucket import TokenBucket
from bufferproxy.testing.clock import FakeClock


class World:
    def __init__(self, rate: float) -> None:
        self.clock = FakeClock(now=0.0)
        self.bucket = TokenBucket(rate, 1, 0.0)
        self.pacer = Pacer("auth", self.bucket, self.clock, lambda _: None)

    async def turns(self, count: int) -> list[asyncio.Task[None]]:
        return await self._start([self.pacer.turn() for _ in range(count)])

    async def connects(self, count: int) -> list[asyncio.Task[None]]:
        return await self._start([self.pacer.may_connect() for _ in range(count)])

    async def _start(self, steps: list[object]) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(step) for step in steps]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        return tasks


async def gone(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_cancelled_before_its_turn_the_next_one_has_the_token() -> None:
    world = World(rate=0.1)
    first, second = await world.turns(2)
    await gone(first)
    await world.clock.advance(10.3)
    assert second.done()


async def test_cancelled_in_the_moment_of_its_turn_the_next_one_has_the_token() -> None:
    world = World(rate=0.1)
    first, second = await world.turns(2)
    world.clock.call_later(10.3, first.cancel)
    world.pacer.obey(world.pacer.regime, world.pacer.concurrency)
    world.clock.shift(10.3)
    world.pacer._sending.pump()  # the token is the first one's, which has not noticed yet
    first.cancel()
    await asyncio.wait([first])
    await world.clock.advance(0)
    assert first.cancelled()
    assert second.done()


async def test_the_last_one_cancelled_in_the_moment_of_its_turn_gives_the_token_back() -> None:
    world = World(rate=0.1)
    (only,) = await world.turns(1)
    world.clock.shift(10.3)
    world.pacer._sending.pump()
    await gone(only)
    assert only.cancelled()
    assert world.bucket.take(10.3) == 0.0


async def test_cancelled_and_due_in_one_turn_of_the_loop_no_token_is_lost() -> None:
    world = World(rate=0.1)
    first, second = await world.turns(2)
    world.clock.shift(10.3)
    first.cancel()
    world.pacer._sending.pump()  # meets a place whose owner has just given it up
    await asyncio.wait([first])
    await asyncio.wait([second])
    assert not second.cancelled()


async def probing(world: World) -> list[asyncio.Task[None]]:
    """Two who wait to connect to a service that could not be reached; its rest is over, and nobody knows."""
    world.pacer.unreachable("refused")
    tasks = await world.connects(2)
    world.clock.shift(1.0)
    return tasks


@pytest.mark.parametrize("noticed", ["before", "after"])
async def test_the_right_to_probe_goes_to_the_next_one(noticed: str) -> None:
    world = World(rate=math.inf)
    first, second = await probing(world)
    if noticed == "before":
        world.pacer._connecting.pump()
        first.cancel()
    else:
        first.cancel()
        world.pacer._connecting.pump()
    await asyncio.wait([first])
    await world.clock.advance(0)
    assert first.cancelled()
    assert second.done()


async def test_a_probe_that_was_cancelled_and_had_no_follower_blocks_nobody_who_comes_later() -> None:
    world = World(rate=math.inf)
    first, second = await probing(world)
    world.pacer._connecting.pump()
    await gone(first, second)
    async with asyncio.timeout(5):
        await world.pacer.may_connect()


async def test_many_that_give_up_leave_nothing_behind() -> None:
    world = World(rate=0.001)
    await gone(*await world.turns(50))
    assert not world.pacer._sending._waiting
    await world.clock.advance(2000)
    assert world.clock.waiting == 0
    assert world.pacer.held() == []
