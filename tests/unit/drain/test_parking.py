"""Blocked keys hold up nobody else, and keep their order through restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
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
    from bufferproxy.http1.client import Connection

NAMES = ServiceTopics.of("a")
RETRY = RetryPolicy(9, 100.0, 100.0, "none", frozenset({500}), timeout=True)
WINDOW = 20


class Service:
    """A Deliverer: answers 500 to the bodies in `bad`, 200 to all others."""

    def __init__(self) -> None:
        self.bad: set[bytes] = set()
        self.sent: list[bytes] = []
        self.done: list[bytes] = []

    def idle(self) -> Connection | None:
        return None

    async def connect(self) -> Connection:
        return cast("Connection", object())

    def ready(self, connection: Connection) -> bool:
        return True

    async def attempt(self, connection: Connection, request: Request, number: int) -> Outcome:
        self.sent.append(request.body)
        await asyncio.sleep(0)
        status = 500 if request.body in self.bad else 200
        if status == 200:
            self.done.append(request.body)
        return Answered(status, Reply(status, b"HTTP/1.1 %d X\r\n" % status, b""))

    def release(self, connection: Connection) -> None: ...

    async def close(self) -> None: ...


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.service = Service()
        self.memory = Memory()
        self.log = MemoryLog(self.memory, self.clock)
        self.plan = Plan("a", NAMES, 1, "key", float("inf"), 1, 4, RETRY, window=WINDOW)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Worker]:
        self.log = MemoryLog(self.memory, self.clock)
        topics = topics_of(NAMES, partitions=1, body=99, reply=99, keep_results=60, keep_dead=60, parks=True)
        await self.log.ensure(topics, create=True)
        pacer = Pacer("a", TokenBucket(float("inf"), 1, self.clock.now()), self.clock, _ignore)
        settler = Settler("a", NAMES, self.log, self.clock, _ignore)
        worker = Worker(self.plan, self.service, pacer, settler, self.clock, _ignore)
        reader = await self.log.reader(NAMES.group, self.plan.reads, worker.leases)
        running = asyncio.create_task(worker.run(reader, self.log))
        try:
            yield worker
        finally:
            running.cancel()
            await asyncio.wait([running])
            await self.log.close()

    async def accept(self, key: bytes, *bodies: bytes) -> None:
        for body in bodies:
            entry = envelope.accepted(
                key=key,
                head=b"GET / HTTP/1.1\r\n",
                body=body,
                accepted_at=int(self.clock.wall() * 1000),
                nonce=self.clock.nonce(),
                results=0,
            )
            await self.log.append(Partition(NAMES.requests, 0), entry)

    async def parked(self) -> int:
        lag = await self.log.lag(NAMES.group, (NAMES.parked,))
        return sum(one.records for one in lag.values())

    async def copied(self) -> int:
        lag = await self.log.lag(NAMES.group, (NAMES.parked,))
        return sum(one.end for one in lag.values())


def _ignore(_: Any) -> None: ...


def numbered(name: bytes, count: int) -> list[bytes]:
    return [b"%b%d" % (name, n) for n in range(count)]


async def test_a_blocked_key_holds_up_nobody_however_many_follow_it() -> None:
    world = World()
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


async def test_within_the_window_nothing_is_parked() -> None:
    world = World()
    world.service.bad = {b"b0"}
    async with world.running():
        await world.accept(b"bad", *numbered(b"b", WINDOW // 2))
        await world.accept(b"good", b"g")
        await world.clock.advance(1.0)
        assert world.service.done == [b"g"]
        assert await world.parked() == 0


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.15, 1.0])
async def test_order_holds_through_restarts(seconds: float) -> None:
    """What was parked comes before what is fresh, wherever the worker was interrupted."""
    world = World()
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
