from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from bufferproxy.drain.delays import Delays
from bufferproxy.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bufferproxy.drain.lanes import Item

    Make = Callable[..., Item]

T = 1_750_000_000_000
"""Milliseconds since the epoch when the clock begins."""


class World:
    def __init__(self) -> None:
        self.clock = FakeClock(now=0.0, wall=T / 1000)
        self.let_go: list[tuple[str, str, float]] = []
        self.delays = Delays(self.clock, self._note("ready"), self._note("hop"), self._note("expire"))

    def _note(self, what: str) -> Callable[[Item], None]:
        return lambda item: self.let_go.append((what, item.request.id, self.clock.now()))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.delays.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_a_head_that_is_due_goes_to_the_lanes_and_the_next_follows_in_its_time(item: Make) -> None:
    world = World()
    world.delays.hold(item("a", hop_at=T + 1000, due_at=T + 1100))
    world.delays.hold(item("b", hop_at=T + 2000, due_at=T + 2100))
    async with world.running():
        await world.clock.advance(5)
    assert world.let_go == [("ready", "a", 1.1), ("ready", "b", 2.1)]
    assert len(world.delays) == 0


async def test_a_head_whose_tier_is_over_and_whose_time_has_not_come_hops(item: Make) -> None:
    world = World()
    world.delays.hold(item("a", hop_at=T + 1000, due_at=T + 5000))
    async with world.running():
        await world.clock.advance(1)
    assert world.let_go == [("hop", "a", 1.0)]


async def test_with_less_than_a_quarter_of_a_second_left_it_hops_no_more_and_goes_in_its_moment(
    item: Make,
) -> None:
    world = World()
    world.delays.hold(item("late", hop_at=T + 250, due_at=T + 200))
    world.delays.hold(item("a", hop_at=T + 250, due_at=T + 100))
    world.delays.hold(item("gone", partition=1, hop_at=T + 250, due_at=T + 100))
    async with world.running():
        await world.clock.advance(0)
        assert world.let_go == []
        world.delays.discard([item("", partition=1, hop_at=1).partition])
        assert len(world.delays) == 2
        await world.clock.advance(1)
    assert world.let_go == [("ready", "a", 0.1), ("ready", "late", 0.2)]


async def test_what_expires_before_it_is_due_ends_when_its_tier_is_over(item: Make) -> None:
    world = World()
    expiring = item("a", hop_at=T + 1000, due_at=T + 60_000)
    expiring.request = expiring.request._replace(expires_at=T + 1000)
    world.delays.hold(expiring)
    async with world.running():
        await world.clock.advance(1)
    assert world.let_go == [("expire", "a", 1.0)]


async def test_what_comes_while_it_sleeps_is_seen(item: Make) -> None:
    world = World()
    async with world.running():
        world.delays.hold(item("late", partition=5, hop_at=T + 60_000, due_at=T + 60_000))
        await world.clock.advance(1)
        world.delays.hold(item("soon", partition=1, hop_at=T + 2000, due_at=T + 2000))
        await world.clock.advance(2)
        assert world.let_go == [("ready", "soon", 2.0)]
        await world.clock.advance(60)
    assert world.let_go[1] == ("ready", "late", 60.0)


async def test_lost_partitions_are_forgotten(item: Make) -> None:
    world = World()
    gone = item("a", partition=1, hop_at=T + 1000, due_at=T + 1000)
    world.delays.hold(gone)
    world.delays.hold(item("b", partition=2, hop_at=T + 1000, due_at=T + 1000))
    async with world.running():
        await world.clock.advance(0)
        world.delays.discard([gone.partition])
        await world.clock.advance(2)
    assert [name for _, name, _ in world.let_go] == ["b"]


async def test_a_time_of_day_that_is_set_forward_is_noticed_within_ten_seconds(item: Make) -> None:
    world = World()
    world.delays.hold(item("a", partition=7, hop_at=T + 3_600_000, due_at=T + 3_600_000))
    async with world.running():
        await world.clock.advance(1)
        world.clock.set_wall(T / 1000 + 3700)
        await world.clock.advance(10)
    assert world.let_go == [("ready", "a", 10.0)]


async def test_it_leaves_no_timer_behind(item: Make) -> None:
    world = World()
    world.delays.hold(item("a", hop_at=T + 1000, due_at=T + 1000))
    async with world.running():
        await world.clock.until_set()
    assert world.clock.waiting == 0
    assert repr(world.delays) == "<Delays held=1 tiers=1>"


async def test_with_nothing_to_wait_for_it_sets_no_timer() -> None:
    world = World()
    async with world.running():
        await world.clock.advance(1)
        assert world.clock.waiting == 0
