from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, cast

import pytest

from bufferproxy.envelope import letter_of, request_of
from bufferproxy.errors import AppendRefused, AppendUncertain
from bufferproxy.http1.reply import Reply
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.log.topics import ServiceTopics, topics_of
from bufferproxy.observe.events import Redriven
from bufferproxy.records import Letter, Mark, Partition, Position, Record, Request
from bufferproxy.settle.disposition import DeadLetter
from bufferproxy.settle.redrive import AGAIN, PAGE, Order, Redriver, Work, opened, runs
from bufferproxy.settle.settler import writes_of
from bufferproxy.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bufferproxy.log.contract import Log
    from bufferproxy.records import Entry

NAMES = ServiceTopics.of("a")
REQUESTS, DEAD = Partition(NAMES.requests, 0), Partition(NAMES.dead, 0)
HEAD = b"POST /a/b?q=1 HTTP/1.1\r\nHost: a\r\n"


def died(number: int, key: bytes | None = b"k") -> Request:
    return Request(
        f"{number:048}", Position(REQUESTS, number), key, HEAD, b"body", 7, 0, True, None, 9, 8, 8, 3, 4
    )


class Door:
    def __init__(self) -> None:
        self.full = False
        self.open = 0
        self.told: list[Position] = []

    def partition(self, request: Request) -> Partition:
        return REQUESTS

    def room(self, size: int) -> bool:
        return not self.full

    def added(self, size: int) -> None:
        self.open += 1

    def stored(self, position: Position) -> None:
        self.told.append(position)

    def taken_back(self, size: int) -> None:
        self.open -= 1


class Grumpy:
    """A log whose next appends fail like this."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.read = log.read
        self.failures: list[Exception] = []

    async def append(self, partition: Partition, entry: Entry) -> Position:
        if self.failures:
            raise self.failures.pop(0)
        return await self._log.append(partition, entry)


class World:
    """Letters in a log, and a clock that a test turns."""

    def __init__(self) -> None:
        self.clock, self.door = FakeClock(), Door()
        self.log = MemoryLog(Memory(), self.clock)
        self.grumpy = Grumpy(self.log)
        self.events: list[Any] = []
        self.redriver = Redriver(
            "a", 60.0, cast("Log", self.grumpy), self.door, self.clock, self.events.append
        )
        self.pages: list[int] = []

    async def bury(self, count: int) -> None:
        topics = topics_of(NAMES, partitions=1, body=99, reply=99, keep_results=60, keep_dead=60)
        await self.log.ensure(topics, create=True)
        for number in range(count):
            letter = DeadLetter("attempts", Reply(500, b"HTTP/1.1 500 X\r\n", b""), "8 attempts")
            partition, entry = writes_of(died(number), letter, 50, NAMES)[0]
            await self.log.append(partition, entry)

    async def page(self, after: int, limit: int) -> Sequence[tuple[int, Letter]]:
        self.pages.append(limit)
        records = await self.log.read(Position(DEAD, 0), 10_000)
        letters = [cast("Letter", letter_of(r)) for r in records if isinstance(letter_of(r), Letter)]
        return [(n, letter) for n, letter in enumerate(letters, 1) if n > after][:limit]

    def begin(self, order: Order, count: int) -> tuple[Work, asyncio.Task[bool]]:
        work = Work(order, count)
        return work, asyncio.create_task(self.redriver.carry_out(work, self))

    async def records(self, partition: Partition) -> Sequence[Record]:
        return await self.log.read(Position(partition, 0), 10_000)


async def test_a_redriven_request_starts_anew_under_its_id_and_its_letter_gets_a_marker() -> None:
    world = World()
    await world.bury(1)
    await world.clock.advance(100.0)
    work, running = world.begin(Order("redrive"), 1)
    assert await running
    assert (work.done, work.skipped, work.count) == (1, 0, 1)
    now_ms = int(world.clock.wall() * 1000)
    (record,) = await world.records(REQUESTS)
    request = request_of(record, 0, 0)
    assert (request.id, request.key, request.head, request.body) == (died(0).id, b"k", HEAD, b"body")
    assert (request.attempts, request.sends, request.generation) == (0, 4, 1)
    assert (request.expires_at, request.due_at, request.hop_at) == (now_ms + 60_000, None, None)
    assert not request.waiting
    assert dict(record.headers)["bufferproxy-from"] == f"{NAMES.dead}/0/0".encode()
    letter, marker = await world.records(DEAD)
    assert marker.key == letter.key
    assert letter_of(marker) == Mark(request.id, 1, False, now_ms, 0, 7, None, 0, None, now_ms + 60_000)
    assert world.events == [Redriven("a", 4)]
    assert world.door.told == [record.position]


async def test_it_goes_at_the_rate_and_never_two_at_once() -> None:
    world = World()
    await world.bury(20)
    work, running = world.begin(Order("redrive", rate=4.0), 20)
    done = []
    for _ in range(30):
        await world.clock.advance(0.125)
        done.append(work.done)
    assert max(later - earlier for earlier, later in itertools.pairwise(done)) == 1
    assert done[-1] == 16
    await world.clock.advance(2.0)
    assert await running
    assert work.done == 20


async def test_it_takes_as_many_as_it_may_and_holds_a_page_at_most() -> None:
    world = World()
    await world.bury(3 * PAGE)
    work, running = world.begin(Order("redrive", limit=PAGE + 5), PAGE + 5)
    assert await running
    assert work.done == PAGE + 5
    assert max(world.pages) == PAGE
    assert len(await world.records(REQUESTS)) == PAGE + 5


async def test_it_waits_for_room() -> None:
    world = World()
    await world.bury(2)
    world.door.full = True
    work, running = world.begin(Order("redrive"), 2)
    await world.clock.advance(10.0)
    assert work.done == 0
    world.door.full = False
    await world.clock.advance(AGAIN)
    assert await running
    assert work.done == 2


@pytest.mark.parametrize("failure", [AppendRefused("full"), AppendUncertain("late")])
async def test_an_append_that_fails_is_tried_until_it_works(failure: Exception) -> None:
    world = World()
    await world.bury(1)
    world.grumpy.failures = [failure] * 3
    work, running = world.begin(Order("redrive"), 1)
    await world.clock.advance(10.0)
    assert await running
    assert work.done == world.door.open == 1


async def test_who_stops_finishes_what_is_on_its_way_and_leaves_the_rest() -> None:
    world = World()
    await world.bury(10)
    work, running = world.begin(Order("redrive", rate=1.0), 10)
    await world.clock.advance(3.5)
    world.redriver.stop()
    await world.clock.advance(2.0)
    assert not await running
    assert work.done == 4
    marks = [r for r in await world.records(DEAD) if isinstance(letter_of(r), Mark)]
    assert len(marks) == len(await world.records(REQUESTS)) == 4


async def test_what_is_gone_or_was_never_understood_is_skipped() -> None:
    world = World()
    await world.bury(1)
    (record,) = await world.records(DEAD)
    letter = cast("Letter", letter_of(record))
    assert opened(letter, record, 0, 60.0) is not None
    assert opened(letter, None, 0, 60.0) is None
    assert opened(letter, record._replace(key=b"another"), 0, 60.0) is None
    assert opened(letter, record._replace(headers=()), 0, 60.0) is None


async def test_a_purge_leaves_markers_and_opens_nothing() -> None:
    world = World()
    await world.bury(3)
    work, running = world.begin(Order("purge", limit=2), 2)
    assert await running
    assert work.done == 2
    marks = [letter_of(r) for r in await world.records(DEAD) if isinstance(letter_of(r), Mark)]
    assert [(mark.id, mark.purged) for mark in marks if isinstance(mark, Mark)] == [
        (died(0).id, True),
        (died(1).id, True),
    ]
    assert await world.records(REQUESTS) == []
    assert world.events == []


def test_letters_that_lie_close_together_are_read_together() -> None:
    other = Partition(NAMES.dead, 1)
    places = [(DEAD, 1), (other, 2), (DEAD, 2), (DEAD, 5), (DEAD, 90), (DEAD, 95)]
    page = [
        Letter("x", 0, Position(partition, offset), "attempts", None, 1, 1, 1, "/", None)
        for partition, offset in places
    ]
    found = [(start, [letter.position.offset for letter in letters]) for start, letters in runs(page)]
    assert found == [
        (Position(DEAD, 1), [1, 2, 5]),
        (Position(DEAD, 90), [90]),
        (Position(DEAD, 95), [95]),
        (Position(other, 2), [2]),
    ]
