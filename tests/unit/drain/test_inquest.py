"""What was answered did not kill its worker, whatever it looks like."""

from __future__ import annotations

from typing import Any

import pytest

from bufferproxy.clock import Clock
from bufferproxy.drain.inquest import Verdict, verdict_on
from bufferproxy.drain.openings import CAREFUL, DEATHS, starts_after
from bufferproxy.http1.reply import Reply
from bufferproxy.log.contract import PAGE
from bufferproxy.log.marks import Marks
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.log.topics import ServiceTopics, topics_of
from bufferproxy.records import Entry, Partition, Position, Request, State
from bufferproxy.settle.disposition import Ack, DeadLetter, Expire, Retry
from bufferproxy.settle.settler import Fate, Settler
from bufferproxy.testing.clock import FakeClock

NAMES = ServiceTopics.of("a")
REPLY = Reply(200, b"HTTP/1.1 200 OK\r\n", b"yes")


@pytest.fixture
async def log() -> MemoryLog:
    clock: Clock = FakeClock()
    log = MemoryLog(Memory(), clock)
    topics = topics_of(NAMES, partitions=1, body=99, reply=99, keep_results=60, keep_dead=60, parks=True)
    await log.ensure(topics, create=True)
    return log


def request(id_: str, **fields: Any) -> Request:
    return Request(id_, Position(Partition(NAMES.requests, 0), 7), b"k", b"", b"", 1_000_000, 0, **fields)


async def settled(log: MemoryLog, one: Request, fate: Fate) -> None:
    settler = Settler("a", NAMES, log, FakeClock(), lambda _: None)
    done: list[bool] = []
    settler.settle(one, fate, lambda: done.append(True))
    while not done:
        await FakeClock().advance(0.01)


@pytest.mark.parametrize(
    ("fate", "verdict"),
    [
        (Ack(State.DELIVERED, REPLY), Verdict.SETTLED),
        (Ack(State.REJECTED, REPLY), Verdict.ANSWERED),
        (Retry(1.0, "500", REPLY), Verdict.ANSWERED),
        (DeadLetter("attempts", REPLY, "500"), Verdict.ANSWERED),
    ],
)
async def test_an_answer_acquits(log: MemoryLog, fate: Fate, verdict: Verdict) -> None:
    due_at = 2_000_000 if isinstance(fate, Retry) else None
    await settled(log, request("it", attempts=1, sends=1, due_at=due_at), fate)
    for n in range(2 * PAGE):
        await settled(log, request(f"other-{n}", attempts=1, sends=1), Ack(State.DELIVERED, REPLY))
    assert await verdict_on(request("it"), log, NAMES) is verdict


async def test_an_answer_to_an_earlier_attempt_acquits_nobody(log: MemoryLog) -> None:
    await settled(log, request("it", attempts=1, sends=1, due_at=2_000_000), Retry(1.0, "500", REPLY))
    assert await verdict_on(request("it", attempts=1, sends=1), log, NAMES) is Verdict.GUILTY


async def test_of_a_delayed_one_the_end_may_be_told_in_part(log: MemoryLog) -> None:
    one = request("it", attempts=1, sends=1, due_at=1)
    await settled(log, one, Ack(State.DELIVERED, REPLY))
    assert await verdict_on(request("it", due_at=1), log, NAMES) is Verdict.ANSWERED


async def test_nothing_in_the_log_or_nothing_that_can_be_read_acquits_nobody(log: MemoryLog) -> None:
    await log.append(Partition(NAMES.results, 0), Entry(b"it", b"", ()))
    await log.append(Partition(NAMES.results, 0), Entry(b"it", b"x", (("bufferproxy-version", b"99"),)))
    await settled(log, request("another"), Expire())
    assert await verdict_on(request("it"), log, NAMES) is Verdict.GUILTY


@pytest.mark.parametrize(
    ("found", "starts"),
    [
        (Marks(), 1),
        (Marks(CAREFUL - 1, 0), CAREFUL),
        (Marks(CAREFUL, 0), CAREFUL + 1),
        (Marks(CAREFUL + 1, 50), CAREFUL + 1),
        (Marks(CAREFUL + 1, 51), CAREFUL + 2),
        (Marks(CAREFUL + DEATHS, 51), CAREFUL + DEATHS + 1),
    ],
)
def test_beyond_the_careful_starts_those_count_in_which_a_send_had_begun(found: Marks, starts: int) -> None:
    assert starts_after(found, 50) == starts
