from __future__ import annotations

import asyncio

import pytest

from bufferproxy.errors import LogUnavailable
from bufferproxy.log.kafka.feed import Feed
from bufferproxy.records import Partition, Record

A, B = Partition("t", 0), Partition("t", 1)


class World:
    def __init__(self) -> None:
        self.taken: list[tuple[Partition, int]] = []
        self.feed = Feed(lambda partition, records, size: self.taken.append((partition, records)))

    def offer(self, partition: Partition, *offsets: int) -> None:
        self.feed.offer(partition, [Record(partition, offset, None, b"v", (), 1.0) for offset in offsets])

    async def take(self) -> list[tuple[int, int]]:
        return [(record.partition.number, record.offset) for record in await self.feed.take()]


async def test_partitions_take_turns_and_each_keeps_its_order() -> None:
    world = World()
    world.offer(A, 0, 1)
    world.offer(A, 2)
    world.offer(B, 7)
    assert await world.take() == [(0, 0), (0, 1), (1, 7), (0, 2)]
    assert world.taken == [(A, 2), (B, 1), (A, 1)]


async def test_a_paused_partition_keeps_what_came_of_it_until_it_is_resumed() -> None:
    world = World()
    world.offer(A, 0)
    world.feed.pause(A)
    world.offer(A, 1)
    world.offer(B, 5)
    assert await world.take() == [(1, 5)]
    waiting = asyncio.ensure_future(world.take())
    await asyncio.sleep(0)
    assert not waiting.done()
    world.feed.resume(A)
    assert await waiting == [(0, 0), (0, 1)]


async def test_what_is_dropped_counts_as_taken_and_the_partition_begins_anew() -> None:
    world = World()
    world.offer(A, 0, 1)
    world.offer(B, 3)
    world.feed.pause(A)
    world.feed.drop([A])
    assert world.taken == [(A, 2)]
    world.offer(A, 9)
    assert await world.take() == [(1, 3), (0, 9)]


async def test_a_failure_is_told_once_and_after_what_came_before_it() -> None:
    world = World()
    world.offer(A, 0)
    world.feed.fail(LogUnavailable("away"))
    assert await world.take() == [(0, 0)]
    with pytest.raises(LogUnavailable, match="away"):
        await world.take()
    world.offer(A, 1)
    assert await world.take() == [(0, 1)]


async def test_a_take_that_is_cancelled_has_taken_nothing() -> None:
    world = World()
    waiting = asyncio.ensure_future(world.take())
    await asyncio.sleep(0)
    waiting.cancel()
    world.offer(A, 0)
    await asyncio.wait([waiting])
    assert world.taken == []
    assert await world.take() == [(0, 0)]


async def test_a_closed_feed_says_so() -> None:
    world = World()
    world.offer(A, 0)
    world.feed.close()
    assert world.taken == [(A, 1)]
    with pytest.raises(LogUnavailable, match="closed"):
        await world.take()
