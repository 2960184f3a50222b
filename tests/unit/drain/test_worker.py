"""The worker between a log in memory and a service that a test plays."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from bufferproxy import envelope
from bufferproxy.deliver.outcome import Answered, Outcome
from bufferproxy.drain.pacer import Pacer
from bufferproxy.drain.plan import Plan
from bufferproxy.drain.worker import Worker
from bufferproxy.http1.reply import Reply
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.log.topics import ServiceTopics, topics_of
from bufferproxy.policy.bucket import TokenBucket
from bufferproxy.records import Partition, Request
from bufferproxy.settle.decide import RetryPolicy
from bufferproxy.settle.settler import Settler
from bufferproxy.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bufferproxy.http1.client import Connection

NAMES = ServiceTopics.of("a")
RETRY = RetryPolicy(8, 100.0, 300.0, "none", frozenset(range(500, 600)), timeout=True)


class Service:
    """A Deliverer. Answers with `status`, or not before `silent` is taken back."""

    def __init__(self) -> None:
        self.status = 200
        self.talks = asyncio.Event()
        self.talks.set()
        self.sent: list[str] = []

    def idle(self) -> Connection | None:
        return None

    async def connect(self) -> Connection:
        return cast("Connection", object())

    def ready(self, connection: Connection) -> bool:
        return True

    async def attempt(self, connection: Connection, request: Request, number: int) -> Outcome:
        self.sent.append(request.id)
        await self.talks.wait()
        return Answered(self.status, Reply(self.status, b"HTTP/1.1 %d X\r\n" % self.status, b""))

    def release(self, connection: Connection) -> None: ...

    async def close(self) -> None: ...


class World:
    def __init__(self, order: str) -> None:
        self.clock = FakeClock()
        self.service = Service()
        self.log = MemoryLog(Memory(), self.clock)
        self.plan = Plan("a", NAMES, order, 2, RETRY)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Worker]:
        topics = topics_of(NAMES, partitions=1, body=99, reply=99, keep_results=60, keep_dead=60, parks=True)
        await self.log.ensure(topics, create=True)
        pacer = Pacer("a", TokenBucket(math.inf, 1, self.clock.now()), self.clock, _ignore)
        pacer.concurrency = self.plan.concurrency
        self.pacer = pacer
        settler = Settler("a", NAMES, self.log, self.clock, _ignore)
        worker = Worker(self.plan, self.service, pacer, settler, self.clock, _ignore)
        reader = await self.log.reader(NAMES.group, self.plan.reads, worker.leases)
        running = asyncio.create_task(worker.run(reader, self.log))
        try:
            yield worker
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def accept(self, key: bytes | None = None) -> None:
        entry = envelope.accepted(
            key=key,
            head=b"GET / HTTP/1.1\r\n",
            body=b"",
            accepted_at=int(self.clock.wall() * 1000),
            nonce=self.clock.nonce(),
            results=0,
        )
        await self.log.append(Partition(NAMES.requests, 0), entry)


def _ignore(_: Any) -> None: ...


@pytest.mark.parametrize("order", ["none", "key"])
async def test_what_waits_for_its_next_attempt_is_nothing_that_could_be_delivered_now(order: str) -> None:
    world = World(order)
    world.service.status = 500
    async with world.running() as worker:
        await world.accept(b"k")
        await world.clock.advance(1.0)
        await world.accept(b"k" if order == "key" else None)
        await world.clock.advance(1.0)
        assert len(world.service.sent) == (1 if order == "key" else 2)
        assert worker.open == 2
        assert worker.deliverable == 0
        world.service.status = 200
        await world.clock.advance(110.0)
        assert worker.open == 0


async def test_what_is_in_flight_and_what_nobody_takes_could_be_delivered() -> None:
    world = World("none")
    world.service.talks.clear()
    async with world.running() as worker:
        for _ in range(5):
            await world.accept()
        await world.clock.advance(1.0)
        assert len(world.service.sent) == 2
        assert worker.deliverable == 5
        (held,) = world.pacer.held()
        assert (held.reason, round(held.seconds, 1)) == ("concurrency", 1.0)
        world.service.talks.set()
        await world.clock.advance(1.0)
        assert worker.deliverable == 0


@pytest.mark.parametrize("order", ["none", "key"])
async def test_who_is_told_to_come_later_is_not_the_first_again(
    drain_world: Callable[..., Any], order: str
) -> None:
    """Else those of whom a service wants no more keep it from all others."""
    drained = drain_world(order, concurrency=2)
    drained.service.refused = {b"a0", b"a1"}
    async with drained.running():
        await drained.accept(b"key of a0", b"a0")
        await drained.accept(b"key of a1", b"a1")
        for n in range(6):
            await drained.accept(b"%d" % n, b"b%d" % n)
        await drained.clock.advance(30.0)
        assert sorted(drained.service.done) == [b"b%d" % n for n in range(6)]


async def test_what_has_left_us_is_no_reason_to_ask_for_a_turn(drain_world: Callable[..., Any]) -> None:
    """Deliverers still hold it, and put it down when a token comes."""
    drained = drain_world("none", rate=0.01)
    async with drained.running() as worker:
        await drained.accept(None, b"a", b"b", b"c")
        await drained.clock.advance(1.0)
        assert worker.deliverable == 3
        worker.leases.lost(worker.partitions)
        assert worker.deliverable == 0


async def test_who_hands_over_waits_for_what_hops_so_that_nobody_sends_it_twice(
    drain_world: Callable[..., Any],
) -> None:
    drained = drain_world("none")
    slow: list[tuple[Any, ...]] = []
    async with drained.running() as worker:
        await drained.accept(None, b"late", delay=6000)  # a tier of four seconds, and then the next
        submit = drained.log.submit

        def keep(partition: Partition, entry: Any, done: Any) -> None:
            slow.append((partition, entry, done))

        await drained.clock.advance(3.9)
        drained.log.submit = keep
        await drained.clock.advance(0.2)
        leaving = asyncio.create_task(worker.leases.revoking(list(worker.partitions)))
        await drained.clock.advance(1.0)
        while slow:
            submit(*slow.pop())
            await drained.clock.advance(0.5)
        assert leaving.done()
    async with drained.running():
        await drained.clock.advance(10.0)
    assert [body for body, _ in drained.service.sent] == [b"late"]
