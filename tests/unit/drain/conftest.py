"""Items for lanes and tiers, and a worker with a service that a test plays."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from bufferproxy import envelope
from bufferproxy.deliver.outcome import Answered, Outcome
from bufferproxy.drain.lanes import Item
from bufferproxy.drain.pacer import UNBOUND, Pacer
from bufferproxy.drain.plan import Plan
from bufferproxy.drain.window import Window
from bufferproxy.drain.worker import Worker
from bufferproxy.http1.reply import Failure, Kind, Phase, Reply
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.log.topics import ServiceTopics, topics_of
from bufferproxy.observe.events import Event, Finished
from bufferproxy.policy.bucket import TokenBucket
from bufferproxy.records import Partition, Position, Priority, Request, State
from bufferproxy.settle.decide import RetryPolicy
from bufferproxy.settle.settler import Settler
from bufferproxy.settle.tiers import wait_from
from bufferproxy.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bufferproxy.http1.client import Connection

NAMES = ServiceTopics.of("a")
RETRY = RetryPolicy(9, 100.0, 100.0, "none", frozenset({500}), timeout=True)
WINDOW = 20


class Service:
    """A Deliverer: answers 500 to the bodies in `bad`, 200 to all others."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.bad: set[bytes] = set()
        self.refused: set[bytes] = set()
        """429, with a second of rest."""
        self.poison: bytes | None = None
        self.fatal = asyncio.Event()
        """Set when the poison was sent: the test ends the worker, and no answer comes."""
        self.away = False
        self.sent: list[tuple[bytes, float]] = []
        self.done: list[bytes] = []
        self.talks = asyncio.Event()
        self.talks.set()

    def idle(self) -> Connection | None:
        return None

    async def connect(self) -> Connection | Failure:
        if self.away:
            return Failure(Phase.CONNECT, Kind.REFUSED, sent=False, detail="refused")
        return cast("Connection", object())

    def ready(self, connection: Connection) -> bool:
        return True

    async def attempt(self, connection: Connection, request: Request, number: int) -> Outcome:
        self.sent.append((request.body, round(self.now(), 2)))
        if request.body == self.poison:
            self.fatal.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        await self.talks.wait()
        if request.body in self.refused:
            return Answered(429, Reply(429, b"HTTP/1.1 429 X\r\n", b""), retry_after=1.0)
        status = 500 if request.body in self.bad else 200
        if status == 200:
            self.done.append(request.body)
        return Answered(status, Reply(status, b"HTTP/1.1 %d X\r\n" % status, b""))

    def release(self, connection: Connection) -> None: ...

    async def close(self) -> None: ...


class World:
    """A worker between a log in memory, which outlives it, and a service that the test plays."""

    def __init__(
        self,
        order: str = "key",
        *,
        priorities: bool = False,
        rate: float = math.inf,
        concurrency: int = 4,
        **plan: Any,
    ) -> None:
        names = self.names = ServiceTopics.of("a", priorities=priorities)
        self.clock = FakeClock()
        self.service = Service(self.clock.now)
        self.memory = Memory()
        self.log = MemoryLog(self.memory, self.clock)
        self.plan = Plan("a", names, order, concurrency, RETRY, window=WINDOW, **plan)
        self.rate = rate
        self.events: list[Event] = []
        self.pacer: Pacer

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Worker]:
        self.log = MemoryLog(self.memory, self.clock)
        topics = topics_of(
            self.names, partitions=1, body=99, reply=99, keep_results=60, keep_dead=60, parks=True
        )
        await self.log.ensure(topics, create=True)
        bucket = TokenBucket(self.rate, 1, self.clock.now())
        pacer = self.pacer = Pacer("a", bucket, self.clock, _ignore)
        pacer.concurrency = self.plan.concurrency
        settler = Settler("a", self.names, self.log, self.clock, self.events.append)
        worker = Worker(self.plan, self.service, pacer, settler, self.clock, _ignore)
        reader = await self.log.reader(NAMES.group, self.plan.reads, worker.leases)
        running = asyncio.create_task(worker.run(reader, self.log))
        try:
            yield worker
        finally:
            running.cancel()
            await asyncio.wait([running])
            await self.log.close()

    async def accept(
        self,
        key: bytes | None,
        *bodies: bytes,
        priority: Priority = Priority.NORMAL,
        lives: int | None = None,
        delay: int | None = None,
    ) -> None:
        """`lives` and `delay` in ms. What is delayed goes to its tier where it has no order to keep."""
        now_ms = int(self.clock.wall() * 1000)
        expires_at = None if lives is None else now_ms + lives
        due_at = None if delay is None else now_ms + delay
        place, hop_at = Partition(self.names.fresh[priority], 0), None
        if due_at is not None and self.plan.order == "none":
            tier, hop_at = wait_from(now_ms, due_at, expires_at)
            place = Partition(self.names.delayed, tier)
        for body in bodies:
            entry = envelope.accepted(
                key=key,
                head=b"GET / HTTP/1.1\r\n",
                body=body,
                accepted_at=now_ms,
                nonce=self.clock.nonce(),
                results=0,
                expires_at=expires_at,
                due_at=due_at,
                hop_at=hop_at,
                priority=priority,
            )
            await self.log.append(place, entry)

    def ended(self, state: State) -> int:
        return sum(isinstance(event, Finished) and event.outcome == state for event in self.events)

    def pause(self, *, paused: bool) -> None:
        regime = UNBOUND._replace(rate=0.0, rate_reason="paused", left=math.inf) if paused else UNBOUND
        self.pacer.obey(regime, self.plan.concurrency)

    async def letters(self) -> list[tuple[bytes, str]]:
        """Bodies and reasons of the dead letters, also when no worker runs."""
        log = MemoryLog(self.memory, self.clock)
        records = await log.read(Position(Partition(self.names.dead, 0), 0), 99)
        return [(record.value, dict(record.headers)["bufferproxy-reason"].decode()) for record in records]

    async def parked(self) -> int:
        lag = await self.log.lag(NAMES.group, (NAMES.parked,))
        return sum(one.records for one in lag.values())

    async def copied(self) -> int:
        lag = await self.log.lag(NAMES.group, (NAMES.parked,))
        return sum(one.end for one in lag.values())


def _ignore(_: Any) -> None: ...


@pytest.fixture
def item() -> Callable[..., Item]:
    def make(
        name: str,
        key: bytes | None = None,
        *,
        partition: int = 0,
        due: bool = False,
        due_at: int | None = None,
        hop_at: int | None = None,
    ) -> Item:
        topic = "bufferproxy.a.delayed" if hop_at else "bufferproxy.a.requests"
        position = Position(Partition(topic, partition), 0)
        request = Request(name, position, key, b"", b"", 0, 0, due_at=due_at, hop_at=hop_at)
        return Item(request, Window(0, 1), due=due)

    return make


@pytest.fixture
def drain_world() -> Callable[..., World]:
    return World
