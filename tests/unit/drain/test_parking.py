"""Blocked keys hold up nobody else, and keep their order through restarts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

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
