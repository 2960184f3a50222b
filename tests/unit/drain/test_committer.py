from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bufferproxy.drain.committer import Committer
from bufferproxy.drain.holding import Bounds, Holding
from bufferproxy.errors import LogUnavailable, StorageFull
from bufferproxy.log.contract import Lease
from bufferproxy.log.memory import MemoryLog
from bufferproxy.log.topics import ServiceTopics, topics_of
from bufferproxy.records import Entry, Partition
from bufferproxy.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

NAMES = ServiceTopics.of("a")
P = Partition(NAMES.requests, 0)


class Listener:
    """Everything fetched is begun in a Holding."""

    def __init__(self, holding: Holding) -> None:
        self.holding = holding

    def granted(self, leases: Mapping[Partition, Lease]) -> None:
        self.holding.grant(leases)

    async def revoking(self, partitions: Collection[Partition]) -> None:
        self.holding.drop(partitions)

    def lost(self, partitions: Collection[Partition]) -> None:
        self.holding.drop(partitions)


class World:
    """Three records, fetched, in a log in memory whose commits can be made to fail."""

    async def open(self) -> World:
        self.clock = FakeClock()
        self.told: list[object] = []
        self.log = MemoryLog(clock=self.clock)
        await self.log.ensure(
            topics_of(NAMES, partitions=1, body=100, reply=100, keep_results=9, keep_dead=9), create=True
        )
        for _ in range(3):
            await self.log.append(P, Entry(None, b"x", ()))
        self.holding = Holding(lambda _: Bounds(open=100))
        self.reader = await self.log.reader(NAMES.group, (NAMES.requests,), Listener(self.holding))
        for record in await self.reader.fetch():
            self.holding.begin(record, self.reader.after(record))
        self.committer = Committer(self.holding, self.reader, self.clock, self.told.append, 0.1)
        return self

    def settle(self, offset: int) -> None:
        window = self.holding.window(P)
        assert window is not None
        self.holding.settle(P, offset, window)

    async def committed(self) -> int:
        return (await self.log.lag(NAMES.group, (NAMES.requests,)))[P].committed


async def test_it_commits_what_is_settled_a_few_times_a_second() -> None:
    world = await World().open()
    running = asyncio.create_task(world.committer.run())
    world.settle(0)
    await world.clock.advance(0.05)
    assert await world.committed() == 0
    await world.clock.advance(0.06)
    assert await world.committed() == 1
    world.settle(2)
    world.settle(1)
    await world.clock.advance(0.1)
    assert await world.committed() == 3
    running.cancel()


async def test_on_demand_it_commits_at_once_and_only_what_was_asked_for() -> None:
    world = await World().open()
    world.settle(0)
    await world.committer.commit([Partition(NAMES.delayed, 0)])
    assert await world.committed() == 0
    await world.committer.commit([P])
    assert await world.committed() == 1


@pytest.mark.parametrize("error", [LogUnavailable("away"), StorageFull("full"), asyncio.CancelledError()])
async def test_what_could_not_be_committed_is_committed_the_next_time(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await World().open()
    world.settle(0)

    async def fail(offsets: object, marks: object) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(world.reader, "commit", fail)
        if isinstance(error, LogUnavailable):
            await world.committer.commit()
        else:
            with pytest.raises(type(error)):
                await world.committer.commit()
    assert await world.committed() == 0
    world.clock.shift(20.0)
    assert world.committer.failing == (20.0 if isinstance(error, LogUnavailable) else 0.0)
    await world.committer.commit()
    assert await world.committed() == 1
    assert world.committer.failing == 0.0


async def test_what_was_refused_under_an_old_epoch_is_committed_under_the_new_one() -> None:
    world = await World().open()
    world.settle(0)
    window = world.holding.window(P)
    assert window is not None
    epoch, window.epoch = window.epoch, -1
    await world.committer.commit()
    assert await world.committed() == 0
    world.holding.grant({P: Lease(epoch, 0)})
    await world.committer.commit()
    assert await world.committed() == 1


async def test_what_was_lost_meanwhile_is_not_tried_again() -> None:
    world = await World().open()
    world.settle(0)
    world.holding.drop([P])
    await world.committer.commit()
    assert await world.committed() == 0
