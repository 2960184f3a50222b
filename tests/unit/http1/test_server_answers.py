"""One exchange: what the handler is given, how it is answered, refused, told to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bufferproxy.http1.limits import SKIP
from bufferproxy.http1.problems import Problem

if TYPE_CHECKING:
    from bufferproxy.http1.exchange import Exchange

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
BUSY = Problem("backlog-full", "Full.", retry_after=1.2)


def post(body: bytes, *fields: bytes) -> bytes:
    lines = b"".join(field + b"\r\n" for field in (b"Content-Length: %d" % len(body), *fields))
    return b"POST / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n" + body


# --- what the handler is given --------------------------------------------------------------------------


async def test_headers_keep_their_case_their_order_and_their_bytes(serving: Any) -> None:
    caller = await serving.call()

    await caller.ask(b"GET / HTTP/1.1\r\nhOsT: A:1\r\nX-b: \xff\r\nx-B: 2 \r\nX-B:\r\nAccept: a, b\r\n\r\n")

    assert serving.handler.seen[0].headers == [
        (b"hOsT", b"A:1"),
        (b"X-b", b"\xff"),
        (b"x-B", b"2"),
        (b"X-B", b""),
        (b"Accept", b"a, b"),
    ]


async def test_an_exchange_says_who_asks_how_and_when(serving: Any) -> None:
    caller = await serving.call()

    await caller.ask(post(b"hi"))

    exchange = serving.handler.seen[0]
    assert (exchange.client, exchange.scheme, exchange.host) == ("127.0.0.1", "http", b"a")
    assert (exchange.version, exchange.length, exchange.received_at) == (b"1.1", 2, serving.clock.now())


async def test_trailers_do_not_become_headers(serving: Any) -> None:
    caller = await serving.call()

    await caller.ask(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n"
        b"1\r\nx\r\n0\r\nAuthorization: me\r\nHost: b\r\n\r\n"
    )

    assert [name for name, _ in serving.handler.seen[0].headers] == [
        b"Host",
        b"Transfer-Encoding",
        b"Trailer",
    ]
    assert serving.handler.seen[0].length is None


async def test_what_begin_decides_reaches_handle(serving: Any) -> None:
    begin = serving.handler.begin

    def begin_with_a_route(exchange: Exchange) -> object:
        exchange.context = "a route"
        return begin(exchange)

    serving.handler.begin = begin_with_a_route
    caller = await serving.call()

    await caller.ask(GET)

    assert serving.handler.seen[0].context == "a route"


# --- answers --------------------------------------------------------------------------------------------


async def test_our_own_answers_carry_a_date_and_a_length_and_no_server(serving: Any) -> None:
    serving.handler.answer = lambda exchange: exchange.reply(202, b"X: y\r\n", b"{}")
    caller = await serving.call()

    reply = await caller.ask(GET)

    assert reply.head == (
        b"HTTP/1.1 202 Accepted\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\nX: y\r\nContent-Length: 2"
    )


async def test_a_services_answer_goes_back_as_it_came(serving: Any) -> None:
    head = (
        b"HTTP/1.1 299 Fine by me\r\nServer: x\r\nset-cookie: a\r\nX-\xff: \xfe\r\nSet-Cookie: b\r\n"
        b"content-length: 3\r\n"
    )
    serving.handler.answer = lambda exchange: exchange.reply_raw(head, b"a\x00b")
    caller = await serving.call()

    reply = await caller.ask(GET)

    assert (reply.head + b"\r\n", reply.body) == (head, b"a\x00b")


async def test_a_services_answer_without_a_length_gets_one(serving: Any) -> None:
    serving.handler.answer = lambda exchange: exchange.reply_raw(b"HTTP/1.0 200 OK\r\nX: y\r\n", b"abc")
    caller = await serving.call()

    reply = await caller.ask(GET)

    assert reply.head == b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 3"


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_that_has_no_body_is_given_none(serving: Any, status: int) -> None:
    serving.handler.answer = lambda exchange: exchange.reply(status, b"ETag: x\r\n", b"")
    caller = await serving.call()

    replies = [await caller.ask(GET) for _ in range(2)]

    assert [(reply.status, reply.values(b"content-length")) for reply in replies] == [(status, [])] * 2


async def test_a_304_keeps_the_length_of_what_it_stands_for(serving: Any) -> None:
    head = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n"
    serving.handler.answer = lambda exchange: exchange.reply_raw(head, b"")
    caller = await serving.call()

    assert [(await caller.ask(GET)).head + b"\r\n" for _ in range(2)] == [head, head]


async def test_a_head_gets_the_head_alone_with_its_length(serving: Any) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n"
    serving.handler.answer = lambda exchange: exchange.reply_raw(head, b"")
    caller = await serving.call()

    replies = [await caller.ask(GET.replace(b"GET", b"HEAD"), to_head=True) for _ in range(2)]

    assert [reply.head + b"\r\n" for reply in replies] == [head, head]


async def test_a_refused_head_gets_no_body(serving: Any) -> None:
    serving.handler.allowed = Problem("no-service", "None.")
    caller = await serving.call()

    replies = [await caller.ask(GET.replace(b"GET", b"HEAD"), to_head=True) for _ in range(2)]

    assert [reply.status for reply in replies] == [404, 404]
    assert int(replies[0].values(b"content-length")[0]) > 0


async def test_an_answer_whose_length_is_wrong_closes_the_connection(serving: Any) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
    serving.handler.answer = lambda exchange: exchange.reply_raw(head, b"abc")
    caller = await serving.call()

    caller.send(GET + GET)

    assert (await caller.rest()).count(b"HTTP/1.1") == 1


async def test_an_http_1_0_caller_that_keeps_alive_is_told_so(serving: Any) -> None:
    caller = await serving.call()

    reply = await caller.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")

    assert reply.head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert reply.values(b"Connection") == [b"keep-alive"]


async def test_a_large_answer_comes_whole(serving: Any) -> None:
    body = bytes(range(256)) * 8192
    serving.handler.answer = lambda exchange: exchange.reply(200, b"", body)
    caller = await serving.call()

    assert [(await caller.ask(GET)).body == body for _ in range(3)] == [True] * 3


async def test_a_second_answer_is_a_broken_promise(serving: Any) -> None:
    caller = await serving.call()
    await caller.ask(GET)

    with pytest.raises(RuntimeError, match="answered already"):
        serving.handler.seen[0].reply(200, b"", b"")


async def test_a_handler_that_fails_costs_its_own_connection_only(serving: Any, caplog: Any) -> None:
    other = await serving.call()
    serving.handler.answer = lambda exchange: 1 / 0
    caller = await serving.call()
    caller.send(GET)

    assert await caller.rest() == b""
    assert "the handler failed on <Exchange GET b'/' open>" in caplog.text
    serving.handler.answer = lambda exchange: exchange.reply(200, b"", b"ok")
    assert (await other.ask(GET)).body == b"ok"


# --- refusals by the head -------------------------------------------------------------------------------


async def test_a_refusal_is_a_problem_document(serving: Any) -> None:
    serving.handler.allowed = BUSY
    caller = await serving.call()

    reply = await caller.ask(GET)

    assert reply.head == (
        b"HTTP/1.1 503 Service Unavailable\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
        b"Content-Type: application/problem+json\r\nCache-Control: no-store\r\nRetry-After: 2\r\n"
        b"Content-Length: %d" % len(reply.body)
    )
    assert reply.body == (
        b'{"type": "urn:bufferproxy:problem:backlog-full", "title": "The backlog is full", "status": 503,'
        b' "detail": "Full."}'
    )


async def test_a_refusal_comes_before_the_body_and_the_body_is_skipped(serving: Any) -> None:
    serving.handler.allowed = BUSY
    caller = await serving.call()
    request = post(b"x" * SKIP)

    first = await caller.ask(request[:100])
    serving.handler.allowed = 10
    caller.send(request[100:])

    assert first.slug == "backlog-full"
    assert (await caller.ask(GET)).body == b"GET / "
    assert len(serving.handler.seen) == 1
    assert serving.refused == []


async def test_a_long_body_that_is_refused_closes_the_connection_and_the_refusal_arrives(
    serving: Any,
) -> None:
    caller = await serving.call()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n"

    reply = await caller.ask(head + b"x" * 8_000_000)

    assert reply.slug == "body-too-large"
    assert await caller.rest() == b""
    assert serving.refused == ["body-too-large"]


async def test_a_chunked_body_that_is_refused_by_its_head_closes_the_connection(serving: Any) -> None:
    serving.handler.allowed = BUSY
    caller = await serving.call()

    reply = await caller.ask(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")

    assert (reply.slug, await caller.rest()) == ("backlog-full", b"")


# --- Expect ---------------------------------------------------------------------------------------------

EXPECTING = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n"


async def test_a_caller_that_expects_it_is_told_to_go_on(serving: Any) -> None:
    caller = await serving.call()

    first = await caller.ask(EXPECTING)
    second = await caller.ask(b"hi")

    assert (first.head, second.body) == (b"HTTP/1.1 100 Continue", b"POST / hi")


async def test_a_refused_caller_is_not_told_to_go_on(serving: Any) -> None:
    serving.handler.allowed = BUSY
    caller = await serving.call()

    reply = await caller.ask(EXPECTING)

    assert (reply.slug, await caller.rest()) == ("backlog-full", b"")


async def test_a_caller_whose_body_is_too_large_is_not_told_to_go_on(serving: Any) -> None:
    serving.handler.allowed = 1
    caller = await serving.call()

    assert (await caller.ask(EXPECTING)).slug == "body-too-large"


async def test_a_caller_that_did_not_wait_needs_no_100(serving: Any) -> None:
    caller = await serving.call()

    assert (await caller.ask(EXPECTING + b"hi")).body == b"POST / hi"


async def test_an_http_1_0_caller_is_sent_no_100(serving: Any) -> None:
    caller = await serving.call()
    caller.send(EXPECTING.replace(b"1.1", b"1.0"))
    await serving.settle()

    assert (await caller.ask(b"hi")).body == b"POST / hi"
