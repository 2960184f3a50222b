"""Nobody who sends much in small pieces holds up the others: what one turn of the loop does is bounded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bufferproxy.http1.bodies import ChunkedBody, Later
from bufferproxy.http1.limits import FREE_CHUNKS, TURN_CHUNKS, TURN_REQUESTS, Limits
from bufferproxy.http1.problems import Problem
from bufferproxy.http1.turns import Turns

if TYPE_CHECKING:
    from bufferproxy.http1.exchange import Exchange

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def in_turns(body: ChunkedBody, data: bytes) -> tuple[bytes | Problem | None, int]:
    """What the body came to, and in how many turns."""
    turns = 1
    result = body.feed(data)
    while isinstance(result, Later):
        turns += 1
        result = body.feed(result.rest)
    return result, turns


@pytest.mark.parametrize("chunks", [1, TURN_CHUNKS - 1, TURN_CHUNKS, TURN_CHUNKS + 1, 900])
def test_chunks_are_read_some_at_a_time_and_none_is_lost(chunks: int) -> None:
    body = ChunkedBody(10_000, Limits())
    result, turns = in_turns(body, b"1\r\nx\r\n" * chunks + b"0\r\n\r\nrest")
    assert (result, body.whole()) == (b"rest", b"x" * chunks)
    assert chunks / TURN_CHUNKS <= turns <= chunks / TURN_CHUNKS + 2


def test_a_body_cut_into_absurdly_small_chunks_is_refused() -> None:
    result, _ = in_turns(ChunkedBody(1_000_000, Limits()), b"1\r\nx\r\n" * 10_000)
    assert isinstance(result, Problem)
    assert (result.slug, result.detail) == (
        "bad-request",
        "The chunks are too small: at most 64 for each KiB are taken.",
    )


@pytest.mark.parametrize("size", [16, 100])
def test_a_body_in_small_chunks_is_taken_however_many_there_are(size: int) -> None:
    body = ChunkedBody(1_000_000, Limits())
    chunk = b"%x\r\n%b\r\n" % (size, b"x" * size)
    assert in_turns(body, chunk * 5_000 + b"0\r\n\r\n")[0] == b""
    assert len(body.whole()) == size * 5_000


async def test_the_sender_of_one_byte_chunks_is_told_and_the_connection_ends(serving: Any) -> None:
    caller = await serving.call()
    caller.send(CHUNKED + b"1\r\nx\r\n" * (2 * FREE_CHUNKS))

    reply = await caller.reply()

    assert (reply.status, reply.slug, serving.refused) == (400, "bad-request", ["bad-request"])
    caller.hang_up()


async def test_one_read_of_pipelined_requests_is_answered_over_many_turns(serving: Any) -> None:
    """What happens in one turn, to the last request that is answered in it."""
    turn, answered = 0, list[int]()

    def answer(exchange: Exchange) -> None:
        answered.append(turn)
        exchange.reply(200, b"", b"")

    serving.handler.answer = answer
    caller = await serving.call()
    caller.send(GET * 1000)
    while len(answered) < 1000:
        await asyncio.sleep(0)
        turn += 1

    assert max(answered.count(one) for one in set(answered)) <= TURN_REQUESTS
    assert [(await caller.reply()).status for _ in range(1000)] == [200] * 1000


async def test_a_request_is_answered_between_the_many_of_another_connection(serving: Any) -> None:
    greedy, normal = await serving.call(), await serving.call()
    serving.handler.answer = None
    for caller in (greedy, normal):
        caller.send(GET)
        (await serving.handler.handled.get()).reply(200, b"", b"")
        await caller.reply()
    serving.handler.answer = lambda exchange: exchange.reply(200, b"", b"")
    greedy.send(GET * 2000)
    normal.send(b"GET /normal HTTP/1.1\r\nHost: a\r\n\r\n")

    assert (await normal.reply()).status == 200

    targets = [exchange.target for exchange in serving.handler.seen]
    assert targets.index(b"/normal") < 1000
    assert [(await greedy.reply()).status for _ in range(2000)] == [200] * 2000


async def test_half_closed_behind_many_requests_all_are_answered(serving: Any) -> None:
    caller = await serving.call()
    caller.send(GET * 200)
    caller.end()
    assert (await caller.rest()).count(b"HTTP/1.1 200") == 200


async def test_what_is_left_over_gets_one_turn_each_in_the_order_it_came() -> None:
    turns, ran = Turns(), list[str]()
    for name in ("a", "b", "c"):
        turns.later(lambda name=name: ran.append(name))  # type: ignore[misc]
    seen = []
    for _ in range(4):
        await asyncio.sleep(0)
        seen.append(len(ran))
    assert (ran, seen) == (["a", "b", "c"], [1, 2, 3, 3])
