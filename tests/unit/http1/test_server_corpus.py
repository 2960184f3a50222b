"""What is taken, what is refused and how, as a table of bytes; and the same however the bytes are cut."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httptools
import pytest

from bufferproxy.clock import SystemClock
from bufferproxy.http1.endpoint import Endpoint
from bufferproxy.http1.server import protocol_class
from bufferproxy.testing.http_corpus import (
    ALLOWED,
    BODIES,
    CORE,
    HOSTS,
    LIMITS,
    LINES,
    METHODS,
    PROBE,
    ROWS,
    TARGETS,
    Row,
)

if TYPE_CHECKING:
    from typing import Any

    from bufferproxy.http1.exchange import Exchange


def named(row: Row) -> str:
    return row.name


def test_the_corpus_is_large_and_no_row_is_there_twice() -> None:
    assert len(ROWS) >= 120
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=named)
async def test_a_request_gets_its_answer_and_the_connection_its_end(world: Any, row: Row) -> None:
    await world.listen(LIMITS)
    world.handler.allowed = ALLOWED
    caller = await world.call()

    reply = await caller.ask(row.request)

    assert (reply.status, reply.slug) == (row.status, row.slug), reply
    assert [(seen.target, seen.body) for seen in world.handler.seen] == ([row.handed] if row.handed else [])
    assert world.refused == ([] if row.slug is None else [row.slug])
    if row.goes_on:
        assert (await caller.ask(PROBE)).body == b"GET /probe "
    else:
        assert reply.values(b"Connection") == [b"close"]
        assert await caller.rest() == b""


@pytest.mark.parametrize("method", METHODS)
async def test_every_method_that_llhttp_knows_is_taken(serving: Any, method: str) -> None:
    caller = await serving.call()

    reply = await caller.ask(b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % method.encode(), to_head=method == "HEAD")

    assert reply.status == 200
    assert [seen.method for seen in serving.handler.seen] == [method.encode()]


REGISTERED = [
    *("BASELINE-CONTROL", "CHECKIN", "LABEL", "MKREDIRECTREF", "MKWORKSPACE", "ORDERPATCH", "PRI"),
    *("UNCHECKOUT", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL", "CONNECT", "TRACE", *METHODS),
]
"""Of HTTP's registry, and those that llhttp knows beside."""


def test_no_method_is_left_out_that_the_parser_takes() -> None:
    def takes(method: str) -> bool:
        parser = httptools.HttpRequestParser(object())
        try:
            parser.feed_data(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        except httptools.HttpParserUpgrade:
            return True
        except httptools.HttpParserError:
            return False
        return True

    assert [method for method in REGISTERED if takes(method)] == ["CONNECT", "TRACE", *METHODS]


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
async def test_a_method_that_is_not_allowed_is_told_which_are(serving: Any, method: str) -> None:
    caller = await serving.call()

    reply = await caller.ask(b"%b a:80 HTTP/1.1\r\nHost: a\r\n\r\n" % method.encode())

    assert reply.values(b"Allow") == [", ".join(METHODS).encode()]


@pytest.mark.parametrize(
    ("target", "lines", "host"),
    [
        (b"http://h:80/", b"Host: h\r\n", b"h"),
        (b"http://h/", b"Host: h:80\r\n", b"h:80"),
        (b"http://h:/", b"Host: H\r\n", b"H"),
        (b"https://h:443/", b"Host: h\r\n", b"h"),
        (b"http://[::1]:80/", b"Host: [::1]\r\n", b"[::1]"),
        (b"http://h:443/", b"Host: h\r\n", b"h:443"),
        (b"https://h:80/", b"Host: h\r\n", b"h:80"),
        (b"http://other/", b"X: 1\r\nhOsT: h\r\n", b"other"),
        (b"http://other:8080/", b"Host: h\r\n", b"other:8080"),
    ],
)
async def test_the_host_of_the_target_stands_above_the_header(
    serving: Any, target: bytes, lines: bytes, host: bytes
) -> None:
    caller = await serving.call()

    reply = await caller.ask(b"GET %b HTTP/1.1\r\n%bY: 2\r\n\r\n" % (target, lines))

    assert (reply.status, reply.body) == (200, b"GET / ")
    [seen] = serving.handler.seen
    assert seen.host == host
    assert [value for name, value in seen.headers if name.lower() == b"host"] == [host]
    assert [name for name, _ in seen.headers][-1] == b"Y"


async def test_a_caller_of_http_1_0_that_names_the_host_in_the_target_only_gets_a_host(serving: Any) -> None:
    caller = await serving.call()
    assert (await caller.ask(b"GET http://h/ HTTP/1.0\r\n\r\n")).status == 200
    [seen] = serving.handler.seen
    assert (seen.host, seen.headers) == (b"h", [(b"Host", b"h")])


class Tape(asyncio.Transport):
    """A transport that keeps what is written: with it a request can be cut anywhere, thousands of times."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 0


class Echo:
    def begin(self, exchange: Exchange) -> int:
        return ALLOWED

    def handle(self, exchange: Exchange) -> None:
        exchange.reply_raw(b"HTTP/1.1 200 OK\r\nX: y\r\n", exchange.target + b" " + exchange.body)


def outcome(*pieces: bytes) -> tuple[list[bytes], bool]:
    """The replies' bodies and status lines, and whether the connection was closed. A refusal's detail may
    name the first thing found wrong, so only its slug counts."""
    tape = Tape()
    connection = protocol_class(Endpoint(Echo(), LIMITS, SystemClock()))()
    connection.connection_made(tape)
    for piece in pieces:
        connection.data_received(piece)
    replies = tape.written.split(b"HTTP/1.1 ")[1:]
    told = [reply.split(b'"title"')[0] if b"problem" in reply else reply for reply in replies]
    return [part for part in (without_framing(reply) for reply in told) if part], tape.closed


def without_framing(reply: bytes) -> bytes:
    lines = reply.split(b"\r\n")
    return b"\n".join(line for line in lines if not line.startswith((b"Date:", b"Content-Length:")))


@pytest.mark.parametrize("row", [*CORE, *TARGETS[:6], *LINES, *BODIES], ids=named)
async def test_a_request_cut_at_any_byte_gets_the_same_answer(row: Row) -> None:
    whole = outcome(row.request)
    assert whole[0][0].startswith(b"%d " % row.status)
    for at in range(1, len(row.request)):
        assert outcome(row.request[:at], row.request[at:]) == whole, at


@pytest.mark.parametrize("row", [*CORE, *HOSTS, *BODIES], ids=named)
async def test_a_request_byte_by_byte_gets_the_same_answer(row: Row) -> None:
    pieces = [row.request[at : at + 1] for at in range(len(row.request))]

    assert outcome(*pieces) == outcome(row.request)


@pytest.mark.parametrize("row", [row for row in CORE if row.goes_on], ids=named)
async def test_requests_one_behind_the_other_cut_anywhere_are_each_answered(row: Row) -> None:
    both = row.request + PROBE
    whole = outcome(both)
    assert len(whole[0]) == 2
    for at in range(1, len(both)):
        assert outcome(both[:at], both[at:]) == whole, at
