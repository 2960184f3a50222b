"""What kills its worker again and again is found out; what may be sent only once is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bufferproxy.drain.openings import CAREFUL, DEATHS
from bufferproxy.envelope import change_of
from bufferproxy.log.memory import MemoryLog
from bufferproxy.records import Partition, Position

Make = Callable[..., Any]


def reading(world: Any) -> MemoryLog:
    """The log outlives the worker."""
    return MemoryLog(world.memory, world.clock)


@asynccontextmanager
async def unsent(world: Any) -> AsyncIterator[None]:
    """What is accepted here waits for the next worker."""
    world.service.away = True
    async with world.running():
        yield
    world.service.away = False


async def crash(world: Any, *bodies: bytes) -> None:
    """A worker that ends the moment the poison is sent, as a killed one does: nothing is settled after it."""
    world.service.fatal = asyncio.Event()
    async with world.running(), asyncio.timeout(5):
        await world.accept(None, *bodies)
        while not world.service.fatal.is_set():
            await world.clock.advance(0.05)


@pytest.mark.parametrize("order", ["none", "key"])
async def test_a_request_that_kills_the_worker_ends_dead_and_the_others_are_delivered(
    drain_world: Make, order: str
) -> None:
    world = drain_world(order)
    world.service.poison = b"poison"
    async with unsent(world):
        await world.accept(b"a", b"a0", b"a1")
        await world.accept(b"p", b"poison")
        await world.accept(b"b", b"b0", b"b1")
    lives = 1  # so far
    while True:
        try:
            await crash(world)
        except TimeoutError:
            break
        lives += 1
        assert lives < 20
    assert CAREFUL + DEATHS <= lives <= CAREFUL + 1 + DEATHS
    assert await world.letters() == [(b"poison", "crash")]
    assert {b"a0", b"a1", b"b0", b"b1"} <= set(world.service.done)
    records = await reading(world).read(Position(Partition("bufferproxy.a.states", 0), 0), 99)
    assert [change_of(record).state for record in records][-1] == "dead"


async def test_many_crashes_with_progress_between_them_accuse_nobody(drain_world: Make) -> None:
    world = drain_world("none")
    for n in range(3 * CAREFUL):
        async with world.running():
            await world.accept(None, b"%d" % n)
            await world.clock.advance(0.3)
    assert len(world.service.done) == 3 * CAREFUL
    assert await world.letters() == []


async def test_deaths_after_progress_accuse_nobody_while_they_go_one_at_a_time(drain_world: Make) -> None:
    world = drain_world("none")
    async with world.running():
        await world.accept(None, *(b"%d" % n for n in range(50)))
    world.service.talks.clear()
    for _ in range(CAREFUL):
        async with world.running():
            await world.clock.advance(0.12)
    for _ in range(3):
        before = len(world.service.done)
        async with world.running():
            world.service.talks.set()
            while len(world.service.done) < before + 2:
                await world.clock.advance(0.01)
            world.service.talks.clear()
            await world.clock.advance(0.12)
        async with world.running():
            await world.clock.advance(0.12)
    world.service.talks.set()
    async with world.running():
        for _ in range(100):
            await world.clock.advance(0.02)
    assert await world.letters() == []
    assert set(world.service.done) == {b"%d" % n for n in range(50)}


async def test_many_starts_without_a_send_accuse_nobody(drain_world: Make) -> None:
    """The service is away, and an impatient supervisor kills the worker every second."""
    world = drain_world("none")
    world.service.away = True
    for _ in range(3 * CAREFUL):
        async with world.running():
            await world.accept(None, b"x")
            await world.clock.advance(1.0)
    world.service.away = False
    async with world.running():
        await world.clock.advance(30.0)
    assert len(world.service.done) == 3 * CAREFUL
    assert await world.letters() == []


async def test_sent_at_most_once_a_crash_ends_what_was_on_its_way(drain_world: Make) -> None:
    world = drain_world("none", at_most_once=True)
    world.service.poison = b"poison"
    await crash(world, b"a", b"poison", b"b")
    world.service.poison = None
    async with world.running():
        await world.accept(None, b"c")
        await world.clock.advance(5.0)
    sent = [body for body, _ in world.service.sent]
    assert max(sent.count(body) for body in sent) == 1
    letters = await world.letters()
    assert (b"poison", "interrupted") in letters
    assert {reason for _, reason in letters} == {"interrupted"}
    assert {body for body, _ in letters} | set(world.service.done) == {b"a", b"poison", b"b", b"c"}


async def test_sent_at_most_once_a_stop_in_order_ends_nothing_that_waits_for_its_turn(
    drain_world: Make,
) -> None:
    """It was announced, and never sent."""
    world = drain_world("none", at_most_once=True, rate=1.0)
    async with world.running() as worker:
        await world.accept(None, *[b"%d" % n for n in range(10)])
        await world.clock.advance(3.5)
        await worker.stop(1.0)
    assert 0 < len(world.service.sent) < 10
    async with world.running():
        await world.clock.advance(20.0)
    assert sorted(world.service.done) == sorted(b"%d" % n for n in range(10))
    assert await world.letters() == []


async def test_sent_at_most_once_a_stop_in_order_ends_what_is_still_on_its_way(drain_world: Make) -> None:
    world = drain_world("none", at_most_once=True)
    async with world.running() as worker:
        await world.accept(None, b"a")
        world.service.talks.clear()
        await world.accept(None, b"b")
        await world.clock.advance(1.0)
        await worker.stop(0.05)
    world.service.talks.set()
    async with world.running():
        await world.accept(None, b"c")
        await world.clock.advance(5.0)
    assert (b"b", "interrupted") in await world.letters()
    assert world.service.done[-1:] == [b"c"]
