"""A redrive from the letter to the service and back, on every log; and what a crash in between leaves."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest

from bufferproxy.accept.admission import Limits
from bufferproxy.accept.backlog import Backlog
from bufferproxy.accept.front import Front, Terms
from bufferproxy.clock import SystemClock
from bufferproxy.database import open_database
from bufferproxy.dead import Chosen, DeadLetters, FrontDoor
from bufferproxy.deliver.outcome import Answered, Outcome
from bufferproxy.drain.pacer import Pacer
from bufferproxy.drain.plan import Plan
from bufferproxy.drain.repeats import Repeats
from bufferproxy.drain.worker import Worker
from bufferproxy.envelope import accepted, mark_entry
from bufferproxy.http1.reply import Reply
from bufferproxy.log.kafka import KafkaOptions, open_kafka
from bufferproxy.log.memory import MemoryLog
from bufferproxy.log.sqlite import open_sqlite
from bufferproxy.log.topics import ServiceTopics, topics_of
from bufferproxy.observe.events import DeadLettered, Events, Finished, Redriven
from bufferproxy.policy.bucket import TokenBucket
from bufferproxy.records import Letter, Mark, Partition, Request
from bufferproxy.results.dead_index import SCHEMA, DeadIndex
from bufferproxy.results.dead_view import DeadView
from bufferproxy.results.selection import ALL
from bufferproxy.settle.decide import RetryPolicy
from bufferproxy.settle.redrive import Order, Redriver, Work
from bufferproxy.settle.settler import Settler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from bufferproxy.http1.client import Connection
    from bufferproxy.log.contract import Log

NAMES = ServiceTopics.of("a")
PATIENCE = 60.0


class Service:
    """A Deliverer that answers at once with `status`, and writes down what it got."""

    def __init__(self) -> None:
        self.status = 500
        self.sent: list[Request] = []

    def idle(self) -> Connection | None:
        return cast("Connection", self)

    async def connect(self) -> Connection:
        return cast("Connection", self)

    def ready(self, connection: Connection) -> bool:
        return True

    async def attempt(self, connection: Connection, request: Request, number: int) -> Outcome:
        self.sent.append(request)
        return Answered(self.status, Reply(self.status, b"HTTP/1.1 %d X\r\n" % self.status, b""))

    def release(self, connection: Connection) -> None: ...

    async def close(self) -> None: ...


class World:
    """One replica of service `a`, between a log and a service that a test plays."""

    def __init__(self, log: Log, names: ServiceTopics, index: DeadIndex) -> None:
        self.log, self.names, self.clock = log, names, SystemClock()
        self.service, self.events = Service(), Events()
        self.told: list[Any] = []
        self.heard = asyncio.Event()
        for kind in (Finished, DeadLettered, Redriven):
            self.events.subscribe(kind, self._hear)
        partitions = tuple(
            Partition(names.requests, number) for number in range(log.partitions(names.requests))
        )
        terms = Terms(99, 0.0, None, 60.0, 10, Limits(1000, 1 << 20, 60.0), "key", None)
        self.front = Front("a", names, partitions, terms, Backlog(math.inf, exact=True))
        self.events.subscribe(Finished, lambda _: self.front.backlog.finished())
        self.view = DeadView(log, index, {"a": (names, 600.0)}, self.clock)
        self.letters = DeadLetters()
        self.redriver = self.new_redriver()
        self.letters.open(self.view, log, {"a": self.redriver})

    def new_redriver(self, log: Log | None = None) -> Redriver:
        return Redriver("a", 60.0, log or self.log, FrontDoor(self.front), self.clock, self.events.emit)

    def _hear(self, event: Any) -> None:
        self.told.append(event)
        self.heard.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.heard.clear()
                await self.heard.wait()

    def count(self, kind: type) -> int:
        return sum(isinstance(event, kind) for event in self.told)

    def finished(self) -> Counter[str]:
        return Counter(event.outcome for event in self.told if isinstance(event, Finished))

    @asynccontextmanager
    async def draining(self) -> AsyncIterator[Worker]:
        clock, emit = self.clock, self.events.emit
        retry = RetryPolicy(1, 0.1, 0.1, "none", frozenset(range(500, 600)), timeout=True)
        plan = Plan("a", self.names, "none", 4, retry)
        pacer = Pacer("a", TokenBucket(math.inf, 1, clock.now()), clock, emit)
        pacer.concurrency = plan.concurrency
        worker = Worker(
            plan, self.service, pacer, Settler("a", self.names, self.log, clock, emit), clock, emit
        )
        worker.sender.repeats = Repeats(partial(self.view.settled, "a"), clock)
        topics = (self.names.requests, self.names.delayed)
        reader = await self.log.reader(self.names.group, topics, worker.leases)
        running = asyncio.create_task(worker.run(reader, self.log))
        try:
            yield worker
            await worker.stop(5.0)
        finally:
            running.cancel()
            await asyncio.wait([running])
            await reader.close()

    async def accept(self, key: bytes | None) -> None:
        entry = accepted(
            key=key,
            head=b"POST /p HTTP/1.1\r\nHost: a\r\n",
            body=b"body",
            accepted_at=int(self.clock.wall() * 1000),
            nonce=self.clock.nonce(),
            results=0,
        )
        self.front.backlog.added(4)
        self.front.backlog.stored(await self.log.append(self.front.partition(key), entry))

    async def bury(self, count: int) -> list[str]:
        """So many requests that died; their ids."""
        async with self.draining():
            for number in range(count):
                await self.accept(b"k%d" % number if number % 2 else None)
            await self.until(lambda: self.count(Finished) == count)
        listed = await self.listed()
        assert len(listed) == count
        self.told.clear()
        self.service.sent.clear()
        self.service.status = 200
        return [letter.id for letter in listed]

    async def listed(self) -> list[Letter]:
        return list((await self.letters.list("a", ALL, 1000, 0)).letters)

    async def redrive(self) -> Work:
        work = await self.letters.begin("a", ALL, Order("redrive"))
        assert work is not None
        async with asyncio.timeout(PATIENCE):
            await work.over.wait()
        return work

    async def settled(self, count: int) -> None:
        await self.until(lambda: self.count(Finished) == count)


KAFKA = pytest.param("kafka", marks=pytest.mark.kafka)


@pytest.fixture(params=["memory", "sqlite", KAFKA])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    names = ServiceTopics.of("a", f"t{uuid.uuid4().hex[:8]}")
    async with AsyncExitStack() as stack:
        log: Log
        match request.param:
            case "memory":
                log = MemoryLog()
            case "sqlite":
                log = await open_sqlite(tmp_path / "log.db")
            case _:
                bootstrap = request.getfixturevalue("kafka_broker").bootstrap
                log = await open_kafka(bootstrap, SystemClock(), KafkaOptions(replication=1))
        stack.push_async_callback(log.close)
        topics = topics_of(names, partitions=2, body=99, reply=99, keep_results=60, keep_dead=600)
        await log.ensure(topics, create=True)
        index = DeadIndex(await open_database(tmp_path / "dead.db", SCHEMA))
        stack.push_async_callback(index.close)
        world = World(log, names, index)
        tail = await world.view.start()
        stack.push_async_callback(tail.close)
        running = asyncio.create_task(world.view.run(tail))

        async def stop() -> None:
            running.cancel()
            await asyncio.wait([running])

        stack.push_async_callback(stop)
        stack.push_async_callback(world.letters.close)
        yield world


class Cut(Exception):
    """Here the process was killed."""


class CutLog:
    """Appends requests, but no marker any more."""

    def __init__(self, log: Log, dead: str) -> None:
        self._log = log
        self._dead = dead
        self.read = log.read

    async def append(self, partition: Any, entry: Any) -> Any:
        if partition.topic == self._dead:
            raise Cut
        return await self._log.append(partition, entry)


async def cut_off(world: World) -> None:
    """A redrive that is killed when all requests are stored, and none of the markers."""
    work = Work(Order("redrive"), 10)
    log = cast("Log", CutLog(world.log, world.names.dead))
    page = await world.view.page("a", ALL, 100)

    class Letters:
        async def page(self, after: int, limit: int) -> Any:
            return page if after == 0 else ()

    with pytest.raises(BaseExceptionGroup):
        await world.new_redriver(log).carry_out(work, Letters())
    assert work.done == 0


async def test_what_is_redriven_is_delivered_once_under_its_id_and_leaves_the_list(world: World) -> None:
    ids = await world.bury(10)
    work = await world.redrive()
    assert (work.state, work.done, work.skipped) == ("done", 10, 0)
    assert await world.listed() == []
    assert world.front.backlog.requests == 10
    async with world.draining():
        await world.settled(10)
    assert Counter(request.id for request in world.service.sent) == Counter(ids)
    assert {(r.attempts, r.sends, r.generation, r.body) for r in world.service.sent} == {(0, 1, 1, b"body")}
    assert world.finished() == {"delivered": 10}
    assert world.front.backlog.requests == 0


async def test_a_key_finds_its_partition_again(world: World) -> None:
    await world.bury(10)
    await world.redrive()
    async with world.draining():
        await world.settled(10)
    for request in world.service.sent:
        if request.key is not None:
            assert request.position.partition == world.front.partition(request.key)
    assert sum(request.key is not None for request in world.service.sent) == 5


async def test_a_redrive_that_was_cut_off_is_repeated_and_nothing_is_sent_twice(world: World) -> None:
    ids = await world.bury(10)
    await cut_off(world)
    work = await world.redrive()
    assert (work.state, work.done) == ("done", 10)
    async with world.draining():
        await world.settled(20)
    assert Counter(request.id for request in world.service.sent) == Counter(ids)
    assert world.finished() == {"delivered": 10, "cancelled": 10}
    assert world.front.backlog.requests == 0
    assert await world.listed() == []


async def test_what_a_cut_off_redrive_delivered_leaves_the_list(world: World) -> None:
    """Its marker was never written: the worker tells that it is settled."""
    await world.bury(10)
    await cut_off(world)
    assert len(await world.listed()) == 10
    async with world.draining():
        await world.settled(10)
    assert await world.listed() == []


async def test_a_repeat_is_dropped_by_a_later_worker_too(world: World) -> None:
    await world.bury(10)
    await cut_off(world)
    late = await world.view.page("a", ALL, 100)
    async with world.draining():
        await world.settled(10)

    class Stale:
        """Letters as another replica saw them, before."""

        async def page(self, after: int, limit: int) -> Any:
            return late if after == 0 else ()

    work = Work(Order("redrive"), 10)
    await world.new_redriver().carry_out(work, Stale())
    assert work.done + work.skipped == 10  # SQLite has removed what a marker took the place of
    async with world.draining():
        await world.settled(10 + work.done)
    assert len(world.service.sent) == 10
    assert await world.listed() == []


async def test_who_dies_again_is_listed_again_although_a_marker_comes_late(world: World) -> None:
    ids = await world.bury(4)
    before = await world.view.page("a", ALL, 100)
    world.service.status = 500
    await world.redrive()
    async with world.draining():
        await world.settled(4)
    again = await world.listed()
    assert {(letter.id, letter.generation) for letter in again} == {(id_, 1) for id_ in ids}
    for _, letter in before:  # the markers of the first redrive, once more
        mark = Mark(letter.id, 1, purged=False, at=1, results=0)
        await world.log.append(letter.position.partition, mark_entry(mark))
    assert await world.listed() == again
    for letter in again:
        shown = await world.letters.show("a", letter.id)
        assert shown is not None
        assert shown[1].value == b"body"


async def test_what_dies_while_a_redrive_runs_is_not_taken_by_it(world: World) -> None:
    ids = await world.bury(4)
    chosen = Chosen(world.view, "a", ALL, await world.view.newest())
    world.service.status = 500
    await world.redrive()
    async with world.draining():
        await world.settled(4)
    assert {letter.id for letter in await world.listed()} == set(ids)
    assert await chosen.page(0, 100) == []


async def test_what_is_purged_is_gone(world: World) -> None:
    await world.bury(4)
    work = await world.letters.begin("a", ALL, Order("purge", limit=3))
    assert work is not None
    async with asyncio.timeout(PATIENCE):
        await work.over.wait()
    assert (work.state, work.done) == ("done", 3)
    assert len(await world.listed()) == 1
    assert world.count(Redriven) == 0
