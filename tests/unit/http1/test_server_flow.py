"""One connection over time: pipelining, callers that go, drain, streams."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from bufferproxy.http1.limits import HELD_BYTES, STREAM_BYTES, Limits
from bufferproxy.http1.problems import Problem

if TYPE_CHECKING:
    from bufferproxy.http1.exchange import Exchange

DATE = b"Date: Tue, 14 Nov 2023 22:13:20 GMT"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
BUSY = Problem("backlog-full", "Full.", retry_after=1.2)


def post(body: bytes, *fields: bytes) -> bytes:
    lines = b"".join(field + b"\r\n" for field in (b"Content-Length: %d" % len(body), *fields))
    return b"POST / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n" + body


# --- one behind the other -------------------------------------------------------------------------------


async def test_pipelined_requests_are_answered_in_order_one_at_a_time(serving: Any) -> None:
    serving.handler.answer = None
    caller = await serving.call()
    caller.send(post(b"1") + post(b"2") + post(b"3"))

    for number in (b"1", b"2", b"3"):
        exchange = await serving.handler.handled.get()
        assert (exchange.body, serving.handler.handled.qsize()) == (number, 0)
        assert len(serving.handler.begun) == int(number)
        exchange.reply(200, b"", number)
        assert (await caller.reply()).body == number


async def test_a_thousand_pipelined_requests_are_all_answered(serving: Any) -> None:
    caller = await serving.call()

    caller.send(GET * 1000)

    assert [(await caller.reply()).status for _ in range(1000)] == [200] * 1000


@pytest.mark.parametrize("junk", [b"\x00", b"X", b"\n", b"junk\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
async def test_junk_behind_a_request_does_not_spoil_its_answer(serving: Any, junk: bytes) -> None:
    serving.handler.answer = None
    caller = await serving.call()
    caller.send(post(b"hi") + junk)
    exchange = await serving.handler.handled.get()
    await serving.settle()

    exchange.reply(202, b"", b"stored")

    assert await caller.reply() == (
        202,
        b"HTTP/1.1 202 Accepted\r\n%b\r\nContent-Length: 6" % DATE,
        b"stored",
    )


async def test_a_line_break_behind_a_body_is_nothing(serving: Any) -> None:
    caller = await serving.call()

    assert (await caller.ask(post(b"hi") + b"\r\n")).status == 200
    assert (await caller.ask(GET)).status == 200


async def test_a_caller_that_sends_on_and_on_is_stopped_while_one_is_answered(serving: Any) -> None:
    serving.handler.answer = None
    caller = await serving.call()
    caller.send(GET)
    first = await serving.handler.handled.get()
    connection = next(iter(serving.listener.endpoint.connections))
    caller.send(post(b"x" * 99_000) * 400)
    await serving.until(lambda: not connection._transport.is_reading())

    assert HELD_BYTES < len(connection._pending) < 4 * 256 * 1024 + HELD_BYTES
    serving.handler.answer = lambda exchange: exchange.reply(200, b"", b"ok")
    first.reply(200, b"", b"")
    assert [(await caller.reply()).status for _ in range(401)] == [200] * 401


async def test_a_caller_that_does_not_read_is_asked_for_nothing_more(serving: Any) -> None:
    serving.handler.answer = lambda exchange: exchange.reply(200, b"", b"x" * 1_000_000)
    caller = await serving.call()
    caller.writer.transport.pause_reading()
    caller.send(GET * 50)
    connection = await answered_until_full(serving)

    assert len(serving.handler.seen) < 50
    assert connection._transport.get_write_buffer_size() < 2_100_000
    caller.writer.transport.resume_reading()
    assert [len((await caller.reply()).body) for _ in range(50)] == [1_000_000] * 50


async def answered_until_full(world: Any) -> Any:
    """Wait until the only connection cannot take more."""
    await world.until(lambda: world.listener.endpoint.connections)
    connection = next(iter(world.listener.endpoint.connections))
    await world.until(lambda: not connection._writable)
    return connection


# --- hang-ups -------------------------------------------------------------------------------------------


async def held(world: Any, caller: Any, told: list[str]) -> Exchange:
    world.handler.answer = None
    caller.send(GET)
    exchange: Exchange = await world.handler.handled.get()
    exchange.on_hangup = lambda: told.append("gone")
    return exchange


@pytest.mark.parametrize("way", ["hang_up", "end"])
async def test_a_held_caller_that_goes_is_noticed_once_and_answering_it_is_nothing(
    serving: Any, way: str
) -> None:
    told: list[str] = []
    caller = await serving.call()
    exchange = await held(serving, caller, told)

    getattr(caller, way)()
    await serving.listener.endpoint.empty.wait()

    assert (told, exchange.gone) == (["gone"], True)
    exchange.reply(200, b"", b"")
    exchange.refuse(BUSY)
    assert exchange.stream(200, b"").closed


async def test_a_caller_that_went_before_it_was_held_is_noticed_too(serving: Any) -> None:
    told: list[str] = []
    serving.handler.answer = None
    caller = await serving.call()
    caller.send(GET)
    exchange = await serving.handler.handled.get()
    connection = next(iter(serving.listener.endpoint.connections))
    caller.end()
    await serving.until(lambda: connection._ended)

    exchange.on_hangup = lambda: told.append("gone")
    assert told == []
    await serving.listener.endpoint.empty.wait()

    assert told == ["gone"]


async def test_an_answered_caller_that_goes_is_no_hangup(serving: Any) -> None:
    told: list[str] = []
    caller = await serving.call()
    exchange = await held(serving, caller, told)
    exchange.reply(200, b"", b"")
    await caller.reply()

    caller.hang_up()
    await serving.listener.endpoint.empty.wait()

    assert (told, exchange.gone) == ([], False)


async def test_a_caller_that_ends_its_sending_still_gets_what_it_is_owed(serving: Any) -> None:
    serving.handler.answer = None
    caller = await serving.call()
    caller.send(GET + GET)
    caller.end()

    for _ in range(2):
        (await serving.handler.handled.get()).reply(202, b"", b"stored")
        assert (await caller.reply()).body == b"stored"
    assert await caller.rest() == b""


@pytest.mark.parametrize("part", [b"GET / HT", GET[:-2], post(b"hello")[:-2]])
async def test_a_request_that_ends_too_early_is_refused(serving: Any, part: bytes) -> None:
    caller = await serving.call()
    caller.send(part)
    caller.end()

    assert ((await caller.reply()).slug, await caller.rest()) == ("bad-request", b"")
    assert serving.handler.seen == []


async def test_a_caller_that_says_nothing_and_goes_is_told_nothing(serving: Any) -> None:
    caller = await serving.call()
    caller.end()

    assert await caller.rest() == b""


# --- drain ----------------------------------------------------------------------------------------------


async def test_drain_closes_idle_connections_and_finishes_the_exchange_under_way(serving: Any) -> None:
    serving.handler.answer = None
    idle, busy = await serving.call(), await serving.call()
    busy.send(GET + GET)
    exchange = await serving.handler.handled.get()

    serving.listener.stop_accepting()

    assert await idle.rest() == b""
    exchange.reply(202, b"", b"stored")
    reply = await busy.reply()
    assert (reply.body, reply.values(b"Connection")) == (b"stored", [b"close"])
    assert await busy.rest() == b""
    assert len(serving.handler.seen) == 1


async def test_drain_lets_a_request_that_is_arriving_arrive(serving: Any) -> None:
    caller = await serving.call()
    request = post(b"hello")
    caller.send(request[:-2])
    await serving.until(lambda: serving.handler.begun)

    serving.listener.stop_accepting()
    reply = await caller.ask(request[-2:])

    assert (reply.body, reply.values(b"Connection")) == (b"POST / hello", [b"close"])


# --- streams --------------------------------------------------------------------------------------------


async def streaming(world: Any, caller: Any, request: bytes = GET) -> Any:
    world.handler.answer = None
    caller.send(request)
    exchange = await world.handler.handled.get()
    return exchange.stream(200, b"Content-Type: text/event-stream\r\n")


async def test_a_stream_comes_in_chunks_and_ends(serving: Any) -> None:
    caller = await serving.call()
    stream = await streaming(serving, caller)

    assert stream.write(b"data: 1\n\n")
    assert stream.write(b"")
    assert stream.write(b"data: 2\n\n")
    stream.close()
    stream.close()

    reply = await caller.reply()
    assert reply.body == b"data: 1\n\ndata: 2\n\n"
    assert reply.values(b"Transfer-Encoding") == [b"chunked"]
    assert await caller.rest() == b""
    assert not stream.write(b"late")


async def test_a_stream_to_http_1_0_ends_with_the_connection(serving: Any) -> None:
    caller = await serving.call()
    stream = await streaming(serving, caller, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    stream.write(b"data: 1\n\n")
    stream.close()

    reply = await caller.reply()

    assert (reply.body, reply.values(b"Connection")) == (b"data: 1\n\n", [b"close"])


async def test_a_stream_in_answer_to_a_head_has_no_body(serving: Any) -> None:
    caller = await serving.call()
    stream = await streaming(serving, caller, GET.replace(b"GET", b"HEAD"))
    stream.write(b"data: 1\n\n")
    stream.close()

    assert (await caller.rest()).endswith(b"\r\n\r\n")


@pytest.mark.parametrize("way", ["hang_up", "end"])
async def test_a_stream_whose_reader_goes_says_so_once(serving: Any, way: str) -> None:
    told: list[str] = []
    caller = await serving.call()
    stream = await streaming(serving, caller)
    stream.on_closed = lambda: told.append("closed")

    getattr(caller, way)()
    await serving.listener.endpoint.empty.wait()

    assert (told, stream.closed, stream.write(b"late")) == (["closed"], True, False)
    stream.close()


async def test_a_stream_whose_reader_does_not_keep_up_is_told_and_then_cut(serving: Any) -> None:
    caller = await serving.call()
    caller.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.writer.transport.pause_reading()
    stream = await streaming(serving, caller)

    while stream.write(b"x" * 10_000):
        pass
    behind = next(iter(serving.listener.endpoint.connections))._transport.get_write_buffer_size()
    while not stream.closed:
        stream.write(b"x" * 10_000)
        await serving.settle()

    assert 0 < behind < STREAM_BYTES


async def test_limits_say_how_often_deadlines_are_looked_at() -> None:
    assert Limits().tick == 0.5
    assert Limits(headers=0.4).tick == pytest.approx(0.05)
    assert Limits(idle=0.001).tick == 0.01
