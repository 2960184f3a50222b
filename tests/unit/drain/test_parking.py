"""Blocked keys hold up nobody else, and keep their order through restarts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bufferproxy.errors import AppendRefused
from bufferproxy.log.contract import Lease
from bufferproxy.records import Entry, Partition, Position, Priority

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


class Moody:
    """A log that refuses the first copies of what has a body in `refused`, each so many times."""

    def __init__(self, log: Any, parked: str, refused: dict[bytes, int]) -> None:
        self.submit_there, self.parked, self.refused = log.submit, parked, refused
        log.submit = self.submit

    def submit(self, partition: Partition, entry: Entry, done: Any) -> None:
        if partition.topic == self.parked and self.refused.get(entry.value, 0):
            self.refused[entry.value] -= 1
            done(AppendRefused("too much waits already"))
            return
        self.submit_there(partition, entry, done)


@pytest.mark.parametrize("ends_after", [0.1, 1.0])
async def test_a_copy_that_is_refused_is_not_overtaken_by_those_behind_it(
    drain_world: Make, ends_after: float
) -> None:
    """Else a worker that ends then would take it for copied, and the request would be lost."""
    world = drain_world()
    world.service.bad = {b"b0"}
    async with world.running():
        Moody(world.log, world.names.parked, {b"b3": 1, b"b4": 2})
        await world.accept(b"bad", *numbered(b"b", 2 * WINDOW))
        await world.clock.advance(ends_after)
    world.service.bad = set()
    async with world.running() as worker:
        await world.clock.advance(300.0)
        assert world.service.done == numbered(b"b", 2 * WINDOW)
        assert worker.open == 0


async def test_a_copy_that_was_made_twice_is_sent_once_and_counted_once(drain_world: Make) -> None:
    world = drain_world()
    world.service.bad = {b"b0"}
    async with world.running():
        await world.accept(b"bad", *numbered(b"b", 2 * WINDOW))
        await world.clock.advance(5.0)
        copied = await world.copied()
        for record in await world.log.read(Position(Partition(world.names.parked, 0), 0), 3):
            await world.log.append(record.partition, Entry(record.key, record.value, record.headers))
        await world.clock.advance(1.0)
    for _ in range(2):  # as it counts them, and as it reads them
        async with world.running():
            await world.clock.advance(5.0)
    world.service.bad = set()
    async with world.running() as worker:
        await world.accept(b"bad", b"last")
        await world.clock.advance(300.0)
        assert world.service.done == [*numbered(b"b", 2 * WINDOW), b"last"]
        assert (worker.open, await world.parked()) == (0, 0)
    assert copied > WINDOW


async def test_what_a_lost_lease_still_settles_frees_no_key_of_the_new_one(drain_world: Make) -> None:
    """It would go out of the count, and what is fresh would go before what is parked."""
    world = drain_world()
    world.service.bad = {b"b0"}
    async with world.running() as worker:
        await world.accept(b"bad", *numbered(b"b", 3 * WINDOW))
        await world.clock.advance(5.0)
        world.service.bad = set()
        world.service.talks.clear()
        await world.clock.advance(200.0)
        assert [body for body, _ in world.service.sent] == [b"b0", b"b0"]  # the second one is parked, and out
        parked = Partition(world.names.parked, 0)
        worker.leases.lost(list(worker.partitions))
        worker.leases.granted({parked: Lease(2, 0)})
        await world.clock.advance(1.0)
        lot = worker._parking._lots[0]
        counted = dict(lot.counts)
        assert counted[b"bad"] > WINDOW
        world.service.talks.set()
        await world.clock.advance(1.0)
        assert lot.counts == counted
