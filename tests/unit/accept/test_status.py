from __future__ import annotations

import asyncio
import math
from typing import Any, cast

import pytest

from bufferproxy import envelope
from bufferproxy.accept.admission import Limits
from bufferproxy.accept.answers import Standing
from bufferproxy.accept.backlog import Backlog
from bufferproxy.accept.front import Front, Terms
from bufferproxy.accept.status import StatusBook
from bufferproxy.http1.problems import Problem
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.log.topics import ServiceTopics, topics_of
from bufferproxy.records import Entry, Partition, State
from bufferproxy.results.index import Row
from bufferproxy.testing.clock import FakeClock

NAMES = ServiceTopics.of("a")
REQUESTS = Partition(NAMES.requests, 0)
TERMS = Terms(99, 0.0, None, 60.0, 10, Limits(10, 1000, 60.0), "none", None)


class View:
    """Has read everything, and nothing was told of any id."""

    behind = 0

    async def find(self, id_: str) -> None:
        return None


class Exchange:
    method = b"GET"
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def __init__(self, id_: str) -> None:
        self.target = f"/_bufferproxy/requests/{id_}".encode()
        self.answer: asyncio.Future[Problem] = asyncio.get_running_loop().create_future()

    def refuse(self, problem: Problem) -> None:
        self.answer.set_result(problem)


async def test_an_id_whose_record_is_of_a_newer_version_gets_an_answer_too() -> None:
    clock = FakeClock()
    log = MemoryLog(Memory(), clock)
    await log.ensure(
        topics_of(NAMES, partitions=1, body=99, reply=99, keep_results=60, keep_dead=60), create=True
    )
    front = Front("a", NAMES, (REQUESTS,), TERMS, Backlog(math.inf, exact=True))
    nonce = clock.nonce()
    headers = (("bufferproxy-version", b"9"), ("bufferproxy-nonce", nonce))
    position = await log.append(REQUESTS, Entry(None, b"", headers))
    id_ = envelope.id_of(envelope.Identity(front.number, envelope.REQUESTS, 0, position.offset, 0, nonce))
    book = StatusBook({front.number: (front, 60.0)}, cast("Any", View()), log, clock, lambda _: False)
    exchange = Exchange(id_)
    book.handle(cast("Any", exchange))
    async with asyncio.timeout(5):
        assert (await exchange.answer).slug == "log-unavailable"


class Told(View):
    """Something was told of every id."""

    def __init__(self, row: Row) -> None:
        self.row = row

    async def find(self, id_: str) -> Row:  # type: ignore[override]
        return self.row._replace(id=id_)


class World:
    def __init__(self, view: View | None = None, *, flying: bool = False) -> None:
        self.clock = FakeClock()
        self.now = int(self.clock.wall() * 1000)
        self.log = MemoryLog(Memory(), self.clock)
        self.front = Front("a", NAMES, (REQUESTS,), TERMS, Backlog(1.0, exact=True))
        fronts = {self.front.number: (self.front, 60.0)}
        self.book = StatusBook(fronts, cast("Any", view or View()), self.log, self.clock, lambda _: flying)

    async def accept(self, place: Partition, topic: int, **fields: Any) -> str:
        await self.log.ensure(
            topics_of(NAMES, partitions=1, body=99, reply=99, keep_results=60, keep_dead=60), create=True
        )
        nonce = self.clock.nonce()
        entry = envelope.accepted(
            key=None, head=b"", body=b"", accepted_at=self.now, nonce=nonce, results=0, **fields
        )
        _, offset = await self.log.append(place, entry)
        return envelope.id_of(envelope.Identity(self.front.number, topic, place.number, offset, 0, nonce))


async def test_what_lies_in_the_tier_where_it_was_accepted_is_queued_until_its_moment() -> None:
    world = World()
    due_at = world.now + 30_000
    id_ = await world.accept(
        Partition(NAMES.delayed, 3), envelope.DELAYED, due_at=due_at, hop_at=world.now + 16_000
    )
    standing = await world.book.standing(id_)
    assert isinstance(standing, Standing)
    assert (standing.state, standing.next_attempt_at, standing.eta) == (State.QUEUED, due_at, 30.0)
    await world.clock.advance(20.0)
    standing = await world.book.standing(id_)
    assert isinstance(standing, Standing)
    assert standing.eta == 10.0


async def test_an_id_of_a_topic_that_the_service_does_not_have_is_unknown() -> None:
    world = World()
    id_ = await world.accept(REQUESTS, envelope.LOW)
    standing = await world.book.standing(id_)
    assert isinstance(standing, Problem)
    assert standing.slug == "unknown-request"


@pytest.mark.parametrize(("flying", "state"), [(False, State.QUEUED), (True, State.DELIVERING)])
async def test_what_has_hopped_is_queued_as_it_was_told_until_it_flies(flying: bool, state: State) -> None:
    now = int(FakeClock().wall() * 1000)
    row = Row("", State.QUEUED, now, now, 0, None, None, now + 9_000, None)
    world = World(Told(row), flying=flying)
    id_ = await world.accept(REQUESTS, envelope.DELAYED)
    standing = await world.book.standing(id_)
    assert isinstance(standing, Standing)
    assert (standing.state, standing.attempts) == (state, int(flying))
    expected = (None, None) if flying else (now + 9_000, 9.0)
    assert (standing.next_attempt_at, standing.eta) == expected
