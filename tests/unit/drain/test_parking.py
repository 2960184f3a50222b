"""Blocked keys hold up nobody else, and keep their order through restarts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bufferproxy.records import Priority

Make = Callable[..., Any]
WINDOW = 20
"""Open requests of a partition, as the world has it."""


def numbered(name: bytes, count: int) -> list[bytes]:
    return [b"%b%d" % (name, n) for n in range(count)]


async def test_a_blocked_key_holds_up_nobody_however_many_follow_it(drain_world: Make) -> None:
    world = drain_world()
    world.service.bad = {b"b0"}
    async with world.running() as worker:
        await world.accept(b"bad", *numbered(b"b", 5 * WINDOW))
        await world.accept(b"good", *numbered(b"g", 3))
        await world.clock.advance(5.0)
        assert world.service.done == numbered(b"g", 3)
        assert await world.parked() >= 4 * WINDOW
        await world.accept(b"good", b"g3")
        await world.accept(b"bad", b"last")
        await world.clock.advance(1.0)
        assert world.service.done[3:] == [b"g3"]
        world.service.bad = set()
        await world.clock.advance(200.0)
        assert world.service.done[4:] == [*numbered(b"b", 5 * WINDOW), b"last"]
        assert worker.open == 0
        copied = await world.copied()
        await world.accept(b"bad", b"free again")
        await world.clock.advance(1.0)
        assert world.service.done[-1] == b"free again"
        assert await world.parked() == 0
        assert await world.copied() == copied


async def test_within_the_window_nothing_is_parked(drain_world: Make) -> None:
    world = drain_world()
    world.service.bad = {b"b0"}
    async with world.running():
        await world.accept(b"bad", *numbered(b"b", WINDOW // 2))
        await world.accept(b"good", b"g")
        await world.clock.advance(1.0)
        assert world.service.done == [b"g"]
        assert await world.parked() == 0


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.15, 1.0])
async def test_order_holds_through_restarts(drain_world: Make, seconds: float) -> None:
    """What was parked comes before what is fresh, wherever the worker was interrupted."""
    world = drain_world()
    world.service.bad = {b"b0"}
    async with world.running():
        await world.accept(b"bad", *numbered(b"b", 3 * WINDOW))
        await world.clock.advance(seconds)
    async with world.running():
        await world.accept(b"bad", b"last")
        await world.clock.advance(seconds)
    world.service.bad = set()
    async with world.running() as worker:
        await world.accept(b"good", b"g")
        await world.clock.advance(250.0)
        assert [body for body in world.service.done if body != b"g"] == [*numbered(b"b", 3 * WINDOW), b"last"]
        assert worker.open == 0


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.15, 1.0])
async def test_with_priorities_all_of_a_key_is_parked_and_each_keeps_its_order(
    drain_world: Make, seconds: float
) -> None:
    """Whatever lies in the three topics and in what is parked, through restarts in between."""
    world = drain_world(priorities=True)
    world.service.bad = {b"NORMAL0"}
    bodies = {priority: numbered(priority.name.encode(), (3 - priority) * WINDOW) for priority in Priority}

    async def accept(some: slice) -> None:
        for priority, names in bodies.items():
            await world.accept(b"bad", *names[some], priority=priority)

    async with world.running():
        await world.accept(b"bad", b"NORMAL0")
        await world.clock.advance(1.0)
        await accept(slice(1, WINDOW - 5))
        await world.clock.advance(seconds)
    async with world.running():
        await world.clock.advance(0.05)
        await accept(slice(WINDOW - 5, None))
        await world.accept(b"good", b"g", priority=Priority.LOW)
        await world.clock.advance(seconds + 1.0)
        assert (b"g" in world.service.done) or seconds == 0.0
    world.service.bad = set()
    async with world.running() as worker:
        await world.clock.advance(400.0)
        assert worker.open == 0
        assert await world.parked() == 0
    done = [body for body in world.service.done if body != b"g"]
    assert len(done) == len(set(done))
    for priority, names in bodies.items():
        mine = [body for body in done if body.startswith(priority.name.encode())]
        assert mine == names[0 if priority is Priority.NORMAL else 1 :]
