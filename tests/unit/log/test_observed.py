from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bufferproxy.errors import AppendUncertain, LogUnavailable
from bufferproxy.log.contract import Appended, Done, Keep, Lease, Topic
from bufferproxy.log.local import LocalReader
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.log.observed import ObservedLog
from bufferproxy.observe.events import Event, LogAppended, LogOperated
from bufferproxy.records import Entry, Partition, Position
from bufferproxy.testing.clock import FakeClock

PARTITION = Partition("t", 0)
ENTRY = Entry(None, b"x", ())


class Slow(MemoryLog):
    """Decides when it is told to."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(Memory(), clock)
        self.waiting: list[Done] = []

    def submit(self, partition: Partition, entry: Entry, done: Done) -> None:
        self.waiting.append(done)

    def decide(self, result: Appended) -> None:
        self.waiting.pop(0)(result)


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.backend = Slow(self.clock)
        self.events: list[Event] = []
        self.told: list[Appended] = []
        self.log = ObservedLog(self.backend, self.clock, self.events.append)

    def submit(self) -> None:
        self.log.submit(PARTITION, ENTRY, self.told.append)


@pytest.fixture
async def world() -> World:
    return World()


async def test_appends_that_became_durable_together_are_told_of_together(world: World) -> None:
    for _ in range(3):
        world.submit()
        world.clock.shift(0.25)
    positions = [Position(PARTITION, offset) for offset in range(3)]
    for position in positions:
        world.backend.decide(position)
    assert world.told == positions
    await asyncio.sleep(0)
    assert world.events == [LogAppended([0.75, 0.5, 0.25])]
    world.submit()
    world.backend.decide(positions[0])
    await asyncio.sleep(0)
    assert world.events[1:] == [LogAppended([0.0])]


async def test_an_append_that_is_decided_at_once_takes_no_negative_time(world: World) -> None:
    world.submit()
    world.backend.decide(Position(PARTITION, 0))
    world.clock.shift(1.0)
    world.submit()
    world.backend.decide(Position(PARTITION, 1))
    await asyncio.sleep(0)
    assert world.events == [LogAppended([0.0, 0.0])]


async def test_an_append_that_failed_is_told_of_at_once(world: World) -> None:
    error = AppendUncertain("lost")
    world.submit()
    world.clock.shift(2.0)
    world.backend.decide(error)
    assert world.told == [error]
    assert world.events == [LogOperated("append", 2.0, "AppendUncertain")]


async def test_other_operations_are_told_of_when_they_end(world: World) -> None:
    await world.log.ensure([Topic("t", 1, Keep())], create=True)
    await world.log.ping()
    await world.log.close()
    with pytest.raises(LogUnavailable):
        await world.log.ping()
    assert world.events == [LogOperated("ping", 0.0), LogOperated("ping", 0.0, "LogUnavailable")]


async def test_what_a_reader_fetches_and_commits_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, events = FakeClock(), list[Event]()
    backend = MemoryLog(Memory(), clock)
    log = ObservedLog(backend, clock, events.append)
    await log.ensure((Topic("t", 1, Keep(), 100),), create=True)
    granted: dict[Partition, Lease] = {}
    listener = cast("Any", SimpleNamespace(granted=granted.update, revoking=None, lost=None))
    reader = await log.reader("g", ("t",), listener)
    await log.append(PARTITION, ENTRY)
    (record,) = await reader.fetch()
    events.clear()
    await reader.commit({PARTITION: (granted[PARTITION].epoch, reader.after(record))})

    async def away(*_: object) -> None:
        raise LogUnavailable("away")

    monkeypatch.setattr(LocalReader, "commit", away)
    with pytest.raises(LogUnavailable):
        await reader.commit({})
    assert events == [LogOperated("commit", 0.0), LogOperated("commit", 0.0, "LogUnavailable")]
    await reader.close()
