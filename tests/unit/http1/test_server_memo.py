"""Heads that come again are not read again: nobody must be able to tell."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bufferproxy.clock import SystemClock
from bufferproxy.http1 import heads
from bufferproxy.http1.endpoint import Endpoint
from bufferproxy.http1.limits import Limits
from bufferproxy.http1.server import Connection, protocol_class
from bufferproxy.testing.http_corpus import ALLOWED, HOSTS, LIMITS, LINES, ROWS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bufferproxy.http1.exchange import Exchange

POST = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"


class Tape(asyncio.Transport):
    def __init__(self, client: str) -> None:
        super().__init__({"peername": (client, 1)})
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


class Mirror:
    """Answers with all that it sees of a request."""

    def __init__(self) -> None:
        self.seen: list[Exchange] = []

    def begin(self, exchange: Exchange) -> int:
        return ALLOWED

    def handle(self, exchange: Exchange) -> None:
        self.seen.append(exchange)
        told = [exchange.method, exchange.target, exchange.version, exchange.host, exchange.client.encode()]
        told += [b"%b=%b" % pair for pair in exchange.headers]
        exchange.reply_raw(b"HTTP/1.1 200 OK\r\n", b"|".join([*told, exchange.body]))


class World:
    def __init__(self, limits: Limits = LIMITS) -> None:
        self.handler = Mirror()
        self.endpoint = Endpoint(self.handler, limits, SystemClock())
        self._make: Callable[[], Connection] = protocol_class(self.endpoint)

    def ask(self, request: bytes, client: str = "192.0.2.1") -> bytes:
        """What one request gets on a connection of its own."""
        tape = Tape(client)
        connection = self._make()
        connection.connection_made(tape)
        connection.data_received(request)
        return b"\n".join(line for line in tape.written.split(b"\r\n") if not line.startswith(b"Date:"))

    @property
    def known(self) -> dict[bytes, object]:
        return dict(self.endpoint.heads.known)


@pytest.fixture
async def world() -> World:
    return World()


async def test_every_request_of_the_corpus_gets_the_same_answer_each_time(world: World) -> None:
    first = [World().ask(row.request) for row in ROWS]
    for _ in range(4):
        assert [world.ask(row.request) for row in ROWS] == first
    assert len(world.known) >= 20


async def test_what_is_refused_is_judged_anew(world: World) -> None:
    for row in [*LINES, *HOSTS]:
        if row.handed is None:
            for _ in range(3):
                world.ask(row.request)
    assert not world.known


async def test_heads_that_differ_in_one_byte_are_not_mixed_up(world: World) -> None:
    for _ in range(3):
        for x in (b"a", b"b", b"A"):
            head = b"POST /a HTTP/1.1\r\nHost: h\r\nX-%b: %b\r\nContent-Length: 1\r\n\r\n" % (x, x)
            seen = b"|/a|1.1|h|192.0.2.1|Host=h|X-%b=%b|Content-Length=1|%b" % (x, x, x)
            assert world.ask(head + x).endswith(seen)


async def test_callers_who_send_the_same_keep_their_own_address(world: World) -> None:
    for _ in range(3):
        for client in ("192.0.2.1", "192.0.2.2"):
            assert b"|%b|" % client.encode() in world.ask(POST + b"x", client)


async def test_what_a_handler_found_out_is_there_again_for_the_same_bytes_only(world: World) -> None:
    for _ in range(2):
        world.ask(POST + b"x")
    world.handler.seen[-1].head.facts = "found out"
    world.ask(POST + b"y")
    world.ask(POST.replace(b"/a", b"/b") + b"y")
    assert [exchange.head.facts for exchange in world.handler.seen[-2:]] == ["found out", None]


async def test_heads_that_come_once_are_not_kept(world: World) -> None:
    for number in range(2000):
        world.ask(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
    assert not world.known
    assert len(world.endpoint.heads._seen) <= heads._MEMO_SIGHTS


@pytest.mark.parametrize("padding", [10, 1500])
async def test_what_is_kept_is_bounded(padding: int) -> None:
    world, most = World(Limits()), 0
    for number in range(1200):
        request = b"GET /%d HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (number, b"x" * padding)
        for _ in range(2):
            world.ask(request)
        if number % 50 == 0:
            most = max(most, len(world.known))
            assert sum(map(len, world.known)) <= heads.MEMO_BYTES
    assert 200 < most <= heads.MEMO_HEADS


async def test_a_large_head_is_not_kept() -> None:
    world = World(Limits())
    for _ in range(3):
        assert b"200 OK" in world.ask(b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"x" * 5000))
    assert not world.known
