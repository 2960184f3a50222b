"""The watchdog, on a consumer that does as told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from bufferproxy.errors import LogUnavailable
from bufferproxy.log.kafka.feed import Feed
from bufferproxy.log.kafka.watch import EVERY, STUCK, Seen
from bufferproxy.log.kafka.watchdog import WatchedReader, WatchedTail
from bufferproxy.records import Partition
from bufferproxy.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from bufferproxy.records import Record

P = Partition("t", 0)


class Consumer:
    """A reader or tail to which nothing comes."""

    group = "g"
    topics = "t"

    def __init__(self) -> None:
        self.closed = False
        self.next: dict[Partition, int] = {}
        self._feed = Feed()

    async def fetch(self) -> Sequence[Record]:
        return await self._feed.take()

    def seen(self) -> Seen:
        return Seen(stable=True, beating=True, served=True, reading={P: 0})

    def fail(self, failure: Exception) -> None:
        self._feed.fail(failure)

    async def give_up(self) -> None:
        await self.close()

    async def close(self) -> None:
        self.closed = True
        self._feed.close()


async def ends(_: Collection[Partition]) -> Mapping[Partition, int]:
    return {P: 1}


Watched = WatchedReader | WatchedTail


def reader(consumer: Consumer, again: Callable[[], Awaitable[Consumer]], clock: FakeClock) -> Watched:
    return WatchedReader(cast("Any", consumer), cast("Any", again), ends, clock)


def tail(consumer: Consumer, again: Callable[[], Awaitable[Consumer]], clock: FakeClock) -> Watched:
    return WatchedTail(cast("Any", consumer), cast("Any", lambda _: again()), ends, clock)


either = pytest.mark.parametrize("watched", [reader, tail])


async def until_replaced(clock: FakeClock) -> None:
    await clock.advance(STUCK + 2 * EVERY)


@either
async def test_who_fetches_is_told_of_a_bug_that_ended_the_watch(watched: Callable[..., Watched]) -> None:
    async def again() -> Consumer:
        raise ValueError("a bug")

    clock = FakeClock()
    watching = watched(Consumer(), again, clock)
    await until_replaced(clock)
    for _ in range(2):
        with pytest.raises(ValueError, match="a bug"):
            async with asyncio.timeout(1):
                await watching.fetch()
    assert watching.trouble, "as long as nobody closes it"
    await watching.close()
    assert not watching.trouble


@either
async def test_who_waits_for_records_is_told_of_a_bug_that_ended_the_watch(
    watched: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen(_: object) -> Seen:
        raise ValueError("a bug")

    monkeypatch.setattr(Consumer, "seen", seen)
    clock = FakeClock()
    watching = watched(Consumer(), Consumer, clock)
    fetching = asyncio.create_task(watching.fetch())
    await until_replaced(clock)
    with pytest.raises(ValueError, match="a bug"):
        async with asyncio.timeout(1):
            await fetching
    await watching.close()


@either
async def test_one_that_is_stuck_is_replaced_when_kafka_is_back(watched: Callable[..., Watched]) -> None:
    first, second, away = Consumer(), Consumer(), True

    async def again() -> Consumer:
        if away:
            raise LogUnavailable("away")
        return second

    clock = FakeClock()
    watching = watched(first, again, clock)
    assert not watching.trouble
    await until_replaced(clock)
    assert first.closed
    assert "is being replaced: nothing came of 1 records" in watching.trouble
    with pytest.raises(LogUnavailable):
        await watching.fetch()
    away = False
    await clock.advance(1.0)
    assert cast("Any", watching).inner is second
    assert not watching.trouble
    await watching.close()
