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
from bufferproxy.records import Entry, Partition
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
