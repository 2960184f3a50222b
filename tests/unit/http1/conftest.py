"""A real listener with a handler that does as told, callers made of bytes, and a clock moved by hand."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NamedTuple

import pytest

from bufferproxy.http1.endpoint import Endpoint
from bufferproxy.http1.limits import Limits
from bufferproxy.http1.listener import Listener

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

    from bufferproxy.http1.exchange import Exchange
    from bufferproxy.http1.listener import Tls
    from bufferproxy.http1.problems import Problem

WALL = 1_700_000_000.0
DATE = b"Date: Tue, 14 Nov 2023 22:13:20 GMT"


class HandClock:
    """Stands still until it is moved; whoever sleeps wakes when its time has come."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self.seconds

    def wall(self) -> float:
        return WALL

    async def sleep(self, seconds: float) -> None:
        waker = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.seconds + seconds, waker))
        await waker

    def random(self) -> float:
        return 0.5

    def nonce(self) -> bytes:
        return b"n" * 12

    def move(self, seconds: float) -> None:
        self.seconds += seconds
        due = [waker for when, waker in self._sleepers if when <= self.seconds]
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[0] > self.seconds]
        for waker in due:
            if not waker.done():
                waker.set_result(None)


class Handler:
    """Allows `allowed` (or refuses with it) and answers by `answer`; `None` leaves it to the test."""

    def __init__(self) -> None:
        self.allowed: int | Problem = 100_000
        self.answer: Callable[[Exchange], None] | None = echo
        self.begun: list[Exchange] = []
        self.handled: asyncio.Queue[Exchange] = asyncio.Queue()
        self.seen: list[Exchange] = []

    def begin(self, exchange: Exchange) -> int | Problem:
        self.begun.append(exchange)
        return self.allowed

    def handle(self, exchange: Exchange) -> None:
        self.seen.append(exchange)
        self.handled.put_nowait(exchange)
        if self.answer is not None:
            self.answer(exchange)


def echo(exchange: Exchange) -> None:
    """Answer with method, target and body as they arrived."""
    exchange.reply(200, b"", b"%b %b %b" % (exchange.method, exchange.target, exchange.body))


class Reply(NamedTuple):
    status: int
    head: bytes
    body: bytes

    @property
    def slug(self) -> str | None:
        if b"application/problem+json" not in self.head:
            return None
        return str(json.loads(self.body)["type"]).removeprefix("urn:bufferproxy:problem:")

    def values(self, name: bytes) -> list[bytes]:
        lines = [line.partition(b": ") for line in self.head.split(b"\r\n")[1:]]
        return [value for key, _, value in lines if key.lower() == name.lower()]


class Caller:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self, *, to_head: bool = False) -> Reply:
        """The next whole reply (a 100 is one too)."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        reply = Reply(int(head[9:12]), head[:-4], b"")
        if to_head or reply.status in (100, 204, 304):
            return reply
        if reply.values(b"transfer-encoding"):
            return reply._replace(body=await self._chunks())
        length = reply.values(b"content-length")
        body = await self.reader.readexactly(int(length[0])) if length else await self.reader.read()
        return reply._replace(body=body)

    async def _chunks(self) -> bytes:
        body = b""
        while True:
            size = int((await self.reader.readuntil(b"\r\n"))[:-2], 16)
            chunk = await self.reader.readexactly(size + 2)
            if not size:
                return body
            body += chunk[:-2]

    async def ask(self, data: bytes, *, to_head: bool = False) -> Reply:
        self.send(data)
        return await self.reply(to_head=to_head)

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        try:
            return await self.reader.read()
        except ConnectionResetError:
            return b""

    def end(self) -> None:
        """Send no more, but listen."""
        self.writer.write_eof()

    def hang_up(self) -> None:
        self.writer.transport.abort()


class World:
    def __init__(self, stack: AsyncExitStack) -> None:
        self.clock = HandClock()
        self.handler = Handler()
        self.refused: list[str] = []
        self._stack = stack

    async def listen(self, limits: Limits | None = None, tls: Tls | None = None) -> Listener:
        endpoint = Endpoint(
            self.handler, limits or Limits(), self.clock, lambda problem: self.refused.append(problem.slug)
        )
        self.listener = Listener("127.0.0.1", 0, endpoint, tls)
        await self.listener.start()
        self._stack.push_async_callback(self._close)
        return self.listener

    async def call(self, context: ssl.SSLContext | None = None) -> Caller:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port, ssl=context)
        caller = Caller(reader, writer)
        self._stack.callback(caller.hang_up)
        return caller

    async def elapse(self, seconds: float) -> None:
        """Let time pass, and let whoever watches it look."""
        self.clock.move(seconds)
        await self.settle()

    async def settle(self) -> None:
        """Let everything run that can run without waiting for anybody."""
        for _ in range(5):
            await asyncio.sleep(0)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for what the other side of a socket makes true."""
        while not condition():
            await self.settle()

    async def _close(self) -> None:
        closing = asyncio.ensure_future(self.listener.close(0.0))
        while not closing.done():
            self.clock.move(0.0)
            await asyncio.sleep(0)
        await closing


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(stack)


@pytest.fixture
async def serving(world: World) -> World:
    """A world with a listener of default limits."""
    await world.listen()
    return world
