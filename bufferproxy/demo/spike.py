"""Callers who keep coming: each on its own time, whatever became of those before, as a crowd does.

What a caller waited counts from the moment it was due, so that a generator that falls behind shows as
waiting and cannot make anybody look better.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from bufferproxy.clock import Clock
from bufferproxy.demo.scenario import Scenario
from bufferproxy.http1.client import Deadlines
from bufferproxy.http1.pool import Pool
from bufferproxy.http1.reply import Failure, Kind, Reply
from bufferproxy.http1.target import Target


class Fate(StrEnum):
    """What a caller got: an answer, a 202 for later, a refusal, or nothing."""

    SERVED = "served"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    RESET = "reset"
    OTHER = "other"


class Call(NamedTuple):
    """Times are monotonic seconds. `id` is what came with a 202, else empty."""

    due_at: float
    ended_at: float
    fate: Fate
    id: str = ""


class Spike:
    """`sent` is told when a request is on its way, `ended` when its caller has or has given up."""

    def __init__(
        self,
        scenario: Scenario,
        target: Target,
        clock: Clock,
        sent: Callable[[float], None],
        ended: Callable[[Call], None],
    ) -> None:
        self._scenario = scenario
        self._clock = clock
        self._sent = sent
        self._ended = ended
        self._pool = Pool(target, clock=clock, idle=scenario.requests, connect=scenario.patience)
        self._authority = target.authority

    async def run(self, began: float) -> None:
        """All requests, evenly spread from `began` on; returns when every caller is done."""
        try:
            async with asyncio.TaskGroup() as callers:
                for number in range(self._scenario.requests):
                    due_at = began + number / self._scenario.offered
                    ahead = due_at - self._clock.now()
                    if ahead > 0:
                        await self._clock.sleep(ahead)
                    self._sent(self._clock.now())
                    callers.create_task(self._call(number, due_at))
        finally:
            await self._pool.close()

    async def _call(self, number: int, due_at: float) -> None:
        fate, id_ = Fate.TIMEOUT, ""
        try:
            async with asyncio.timeout(due_at + self._scenario.patience - self._clock.now()):
                fate, id_ = fate_of(await self._exchange(number))
        except TimeoutError:
            pass  # the caller gave up, which is what its fate says
        self._ended(Call(due_at, self._clock.now(), fate, id_))

    async def _exchange(self, number: int) -> Reply | Failure:
        connection = await self._pool.acquire()
        if isinstance(connection, Failure):
            return connection
        patience = self._scenario.patience
        try:
            return await connection.exchange(
                *order(number, self._authority),
                head_request=False,
                deadlines=Deadlines(send=patience, first_byte=patience, whole=patience),
            )
        finally:
            self._pool.release(connection)


def order(number: int, authority: bytes) -> tuple[bytes, bytes]:
    """Head and body of a request as a shop would send it."""
    body = json.dumps({"order": number, "items": [{"article": "A-17", "quantity": 1}]}).encode()
    head = (
        b"POST /orders HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    return head % (authority, len(body)), body


def fate_of(result: Reply | Failure) -> tuple[Fate, str]:
    """And the id that came with a 202, else an empty one."""
    if isinstance(result, Failure):
        if result.kind is Kind.TIMEOUT:
            return Fate.TIMEOUT, ""
        cut_off = result.kind in {Kind.RESET, Kind.CLOSED, Kind.REFUSED}
        return Fate.RESET if cut_off else Fate.OTHER, ""
    if result.status == 202:
        id_ = _id_in(result.head)
        return (Fate.ACCEPTED, id_) if id_ else (Fate.OTHER, "")
    if result.status == 200:
        return Fate.SERVED, ""
    return (Fate.REFUSED if result.status == 503 else Fate.OTHER), ""


def _id_in(head: bytes) -> str:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"bufferproxy-id":
            return value.strip().decode("latin-1")
    return ""
