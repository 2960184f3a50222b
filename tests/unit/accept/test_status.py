from __future__ import annotations

import asyncio
import math
from typing import Any, cast

from bufferproxy import envelope
from bufferproxy.accept.admission import Limits
from bufferproxy.accept.backlog import Backlog
from bufferproxy.accept.front import Front, Terms
from bufferproxy.accept.status import StatusBook
from bufferproxy.http1.problems import Problem
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.log.topics import ServiceTopics, topics_of
from bufferproxy.records import Entry, Partition, State
from bufferproxy.results.dead_index import Reopened
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
    book = StatusBook(
        {front.number: (front, 60.0)}, cast("Any", View()), cast("Any", None), log, clock, lambda _: False
    )
    exchange = Exchange(id_)
    book.handle(cast("Any", exchange))
    async with asyncio.timeout(5):
        assert (await exchange.answer).slug == "log-unavailable"


class Settled(View):
    """Of every id: the end that is set here."""

    def __init__(self, row: Row) -> None:
        self.row: Row = row
        self.next: Row = row

    async def find(self, id_: str) -> Row:  # type: ignore[override]
        return self.row

    async def find_settled(self, id_: str, names: ServiceTopics) -> Row:
        return self.next


class Dead:
    def __init__(self) -> None:
        self.again: Reopened | None = None
        self.asked = 0

    async def reopened(self, service: str, id_: str) -> Reopened | None:
        self.asked += 1
        return self.again


def dead_row(now_ms: int) -> Row:
    return Row("x", State.DEAD, now_ms, 1, 8, None, "attempts: 8 attempts", None, 5)


async def test_what_a_redrive_opened_again_is_queued_until_its_new_end_is_read() -> None:
    clock = FakeClock()
    now_ms = int(clock.wall() * 1000)
    front = Front("a", NAMES, (REQUESTS,), TERMS, Backlog(math.inf, exact=True))
    id_ = envelope.id_of(envelope.Identity(front.number, envelope.REQUESTS, 0, 0, 0, clock.nonce()))
    view, dead, flying = Settled(dead_row(now_ms)), Dead(), set[str]()
    book = StatusBook(
        {front.number: (front, 60.0)},
        cast("Any", view),
        cast("Any", dead),
        MemoryLog(),
        clock,
        flying.__contains__,
    )

    async def state() -> tuple[str, int]:
        standing = await book.standing(id_)
        assert not isinstance(standing, Problem)
        return standing.state.value, standing.attempts

    assert await state() == ("dead", 8)
    dead.again = Reopened(1, True, None, now_ms + 5, 1, 0, None, 99)
    assert await state() == ("queued", 0)
    flying.add(id_)
    assert await state() == ("delivering", 1)
    flying.clear()
    dead.again = Reopened(1, True, State.RETRYING, now_ms + 6, 1, 1, now_ms + 50, 99)
    assert await state() == ("retrying", 1)
    dead.again = Reopened(1, False, State.DELIVERED, now_ms + 7, 1, 1, None, 99)
    view.next = dead_row(now_ms + 7)._replace(state=State.DELIVERED, attempts=1, error=None)
    assert await state() == ("delivered", 1), "it is in the log, and the view has not read it yet"
    view.row, dead.asked = view.next, 0
    assert await state() == ("delivered", 1)
    assert dead.asked == 0, "what was delivered is never opened again"
