"""What expires ends in its time, whatever it waits for, and is never sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bufferproxy.records import Priority, State

Make = Callable[..., Any]

MANY = 1500
"""More than is held of a partition at once."""


@pytest.mark.parametrize("order", ["none", "key", "strict"])
async def test_while_the_service_is_paused_what_expires_ends_within_two_seconds(
    drain_world: Make, order: str
) -> None:
    world = drain_world(order)
    async with world.running() as worker:
        world.pause(paused=True)
        for n in range(30):
            await world.accept(b"k%d" % (n % 3), b"x%d" % n, lives=1000)
        await world.accept(b"k", b"stays")
        await world.clock.advance(0.5)
        assert world.ended(State.EXPIRED) == 0
        await world.clock.advance(2.5)
        assert (world.ended(State.EXPIRED), worker.open, world.service.sent) == (30, 1, [])
        world.pause(paused=False)
        await world.clock.advance(1.0)
        assert (world.service.done, worker.open) == ([b"stays"], 0)


async def test_what_is_not_fetched_yet_ends_as_soon_as_it_is_met(drain_world: Make) -> None:
    world = drain_world("none")
    async with world.running() as worker:
        world.pause(paused=True)
        await world.accept(None, *(b"%d" % n for n in range(MANY)), lives=1000)
        await world.clock.advance(3.0)
        assert (world.ended(State.EXPIRED), worker.open, world.service.sent) == (MANY, 0, [])


async def test_what_expires_in_the_tiers_ends_there(drain_world: Make) -> None:
    world = drain_world("none")
    async with world.running() as worker:
        await world.accept(None, b"a", delay=60_000, lives=10_000)
        await world.accept(None, b"b", delay=5_000, lives=10_000)
        await world.clock.advance(9.9)
        assert (world.ended(State.EXPIRED), world.service.done) == (0, [b"b"])
        await world.clock.advance(0.5)
        assert (world.ended(State.EXPIRED), worker.open) == (1, 0)


async def test_who_expires_while_it_waits_for_its_next_attempt_lets_its_followers_go(
    drain_world: Make,
) -> None:
    world = drain_world("key")
    world.service.bad = {b"bad"}
    async with world.running() as worker:
        await world.accept(b"k", b"bad", lives=5_000)
        await world.accept(b"k", b"next")
        await world.clock.advance(4.0)
        assert [body for body, _ in world.service.sent] == [b"bad"]
        await world.clock.advance(3.0)
        assert (world.ended(State.EXPIRED), world.service.done, worker.open) == (1, [b"next"], 0)
        await world.clock.advance(200.0)
        assert [body for body, _ in world.service.sent] == [b"bad", b"next"]


async def test_what_ended_in_the_hands_of_who_waited_to_send_it_costs_no_token(drain_world: Make) -> None:
    world = drain_world("none", rate=0.1, concurrency=1)
    async with world.running():
        await world.accept(None, b"first")
        await world.clock.advance(12.0)
        await world.accept(None, b"gone", lives=2_000)
        await world.accept(None, b"second")
        await world.clock.advance(12.0)
        (first, at), (second, then) = world.service.sent
        assert (first, second, world.ended(State.EXPIRED)) == (b"first", b"second", 1)
        assert then - at == pytest.approx(10.0, abs=0.5)


async def test_what_is_in_flight_may_finish(drain_world: Make) -> None:
    world = drain_world("none")
    async with world.running() as worker:
        world.service.talks.clear()
        await world.accept(None, b"a", lives=1_000)
        await world.clock.advance(5.0)
        assert (worker.in_flight, world.ended(State.EXPIRED)) == (1, 0)
        world.service.talks.set()
        await world.clock.advance(0.1)
        assert (world.service.done, world.ended(State.DELIVERED)) == ([b"a"], 1)


async def test_priorities_are_drained_by_weight_from_three_topics(drain_world: Make) -> None:
    for order in ("none", "key"):
        world = drain_world(order, priorities=True, concurrency=1)
        async with world.running():
            world.pause(paused=True)
            for n in range(18):  # a window holds so many
                for priority in Priority:
                    await world.accept(b"%d" % n, priority.name.encode(), priority=priority)
            await world.clock.advance(0.1)
            world.pause(paused=False)
            await world.clock.advance(5.0)
        sent = [body for body, _ in world.service.sent]
        assert len(sent) == 54
        # The first was taken when nothing else was there yet.
        assert [sent[1:22].count(word) for word in (b"HIGH", b"NORMAL", b"LOW")] == pytest.approx(
            [16, 4, 1], abs=1
        )
