"""A service made of bytes: it records exactly what reached it, and answers exactly what a test tells it to,
well-formed or not. On loopback, one connection after the other or many at once.

    async with RawService(replying(), reset()) as service:
        ...                              # the first request is answered, every later one is reset
        assert service.requests[0].raw == b"GET / HTTP/1.1\\r\\n..."
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple, Self, cast

from bufferproxy.clock import SystemClock

if TYPE_CHECKING:
    import ssl
    from types import TracebackType


class Received(NamedTuple):
    """A request as it came. `at`: monotonic seconds when its first byte was read. `connection`: which one,
    counted from 0. `body` is as on the wire, so chunked bodies are with their chunk sizes."""

    at: float
    connection: int
    raw: bytes
    head: bytes
    body: bytes

    @property
    def line(self) -> bytes:
        return self.head.partition(b"\r\n")[0]

    def values(self, name: bytes) -> list[bytes]:
        """The values of every header line of that name, whatever its case, in order."""
        lines = self.head.split(b"\r\n")[1:]
        pairs = (line.partition(b":") for line in lines if line)
        return [value.strip() for found, _, value in pairs if found.lower() == name.lower()]


class Peer:
    """One connection, from the service's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader = reader
        self.number = number
        self._writer = writer

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        """End the stream in order: FIN, after what was written."""
        self._writer.close()

    def shut(self) -> None:
        """Say no more, but keep listening."""
        self._writer.write_eof()

    def cut(self) -> None:
        """FIN without a farewell: over TLS the stream ends without a close_notify."""
        with socket.socket(fileno=os.dup(self._writer.get_extra_info("socket").fileno())) as connection:
            connection.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """RST: what was written and not yet read may be lost."""
        connection = self._writer.get_extra_info("socket")
        if connection is None or connection.fileno() < 0:
            return  # closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        cast("asyncio.Transport", self._writer.transport).abort()

    async def gone(self) -> None:
        """Returns when the other side has closed, with whatever it sent before thrown away."""
        while await self.reader.read(1 << 16):
            pass

    async def receive(self) -> Received | None:
        """The next whole request, or None at the end of the stream."""
        first = await self.reader.read(1)
        if not first:
            return None
        at = SystemClock.now()
        head = first + await self.reader.readuntil(b"\r\n\r\n")
        body = await self._body(head)
        return Received(at, self.number, head + body, head, body)

    async def _body(self, head: bytes) -> bytes:
        fields = Received(0.0, 0, head, head, b"")
        if fields.values(b"transfer-encoding"):
            return await self._chunks()
        lengths = fields.values(b"content-length")
        return await self.reader.readexactly(int(lengths[0])) if lengths else b""

    async def _chunks(self) -> bytes:
        raw = b""
        while True:
            line = await self.reader.readuntil(b"\r\n")
            raw += line
            size = int(line.split(b";")[0], 16)
            if size:
                raw += await self.reader.readexactly(size + 2)
                continue
            while line != b"\r\n":
                line = await self.reader.readuntil(b"\r\n")
                raw += line
            return raw


Behaviour = Callable[[Peer, Received], Awaitable[None]]
"""What a service does with one request. When it has closed or reset the peer, the connection ends."""


def head(status: int = 200, *lines: bytes, reason: bytes = b"OK") -> bytes:
    """Status line and header lines with their empty line."""
    return b"\r\n".join((b"HTTP/1.1 %d %b" % (status, reason), *lines, b"", b""))


def ok(body: bytes = b"ok", *lines: bytes, status: int = 200) -> bytes:
    """A whole reply with a Content-Length."""
    return head(status, *lines, b"Content-Length: %d" % len(body)) + body


def replying(data: bytes | None = None, *, close: bool = False) -> Behaviour:
    """Answer with these bytes at once, by default a 200; `close` ends the stream afterwards."""
    answer = ok() if data is None else data

    async def behave(peer: Peer, _: Received) -> None:
        await peer.write(answer)
        if close:
            peer.close()

    return behave


def chunked(*pieces: bytes, trailers: bytes = b"") -> Behaviour:
    """A chunk for each piece; `trailers` are whole lines."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return replying(head(200, b"Transfer-Encoding: chunked") + body + b"0\r\n" + trailers + b"\r\n")


def until_close(body: bytes = b"to the end") -> Behaviour:
    """No length: the end of the stream ends the body."""
    return replying(head() + body, close=True)


def not_kept_alive(body: bytes = b"ok") -> Behaviour:
    return replying(ok(body, b"Connection: close"), close=True)


def closing_idle(body: bytes = b"ok") -> Behaviour:
    """Answer as if the connection stayed, then close it."""
    return replying(ok(body), close=True)


def informed(*statuses: int, then: bytes | None = None) -> Behaviour:
    """Interim replies (100, 103, ...) before the final one."""
    return replying(b"".join(head(status, reason=b"Interim") for status in statuses) + (then or ok()))


def oversized_head(size: int) -> Behaviour:
    return replying(ok(b"ok", b"X-Large: " + b"x" * size))


def garbage(data: bytes = b"<html>this is no reply</html>") -> Behaviour:
    return replying(data)


def trickling(data: bytes, *, every: Callable[[], Awaitable[object]] | None = None) -> Behaviour:
    """A byte at a time; `every` is awaited between two of them."""

    async def behave(peer: Peer, _: Received) -> None:
        for index in range(len(data)):
            await peer.write(data[index : index + 1])
            await (every() if every is not None else asyncio.sleep(0))

    return behave


def when(event: asyncio.Event, then: Behaviour | None = None) -> Behaviour:
    """Slow: go on when the test sets the event."""

    async def behave(peer: Peer, received: Received) -> None:
        await event.wait()
        await (then or replying())(peer, received)

    return behave


def slow(seconds: float, then: Behaviour | None = None) -> Behaviour:
    """Slow by the clock on the wall, for tests over real time."""

    async def behave(peer: Peer, received: Received) -> None:
        await asyncio.sleep(seconds)
        await (then or replying())(peer, received)

    return behave


def silent(data: bytes = b"") -> Behaviour:
    """Half open: send this much, then nothing for ever, and never close."""

    async def behave(peer: Peer, _: Received) -> None:
        await peer.write(data)
        await peer.gone()

    return behave


def reset(after: bytes = b"") -> Behaviour:
    """Reset when the request has been read, after sending this much of a reply."""

    async def behave(peer: Peer, _: Received) -> None:
        await peer.write(after)
        peer.reset()

    return behave


def closing(after: bytes = b"") -> Behaviour:
    """Close in order without a (whole) reply."""
    return replying(after, close=True)


async def hear_requests(service: RawService, peer: Peer) -> None:
    """The usual way with a connection: request after request, each by the next behaviour."""
    while (received := await peer.receive()) is not None:
        await service.behave(peer, received)


async def reset_at_once(_: RawService, peer: Peer) -> None:
    """Reset before any request."""
    peer.reset()


async def reset_at_head(_: RawService, peer: Peer) -> None:
    """Reset while the request is still being sent."""
    await peer.reader.read(1)
    peer.reset()


async def deaf(_: RawService, peer: Peer) -> None:
    """Accept, read nothing: the sender's buffers fill up."""
    await asyncio.get_running_loop().create_future()


Hearing = Callable[["RawService", Peer], Awaitable[None]]


def closing_when_idle(seconds: Callable[[], float]) -> Hearing:
    """Close what no request has come on for so long, drawn anew each time: now and then just when one
    comes."""

    async def hear(service: RawService, peer: Peer) -> None:
        while True:
            try:
                received = await asyncio.wait_for(peer.receive(), seconds())
            except TimeoutError:
                return
            if received is None:
                return
            await service.behave(peer, received)

    return hear


class RawService:
    """Behaviours are used up request by request, over all connections; the last one stays. `hearing` is what
    happens on a new connection."""

    def __init__(
        self,
        *behaviours: Behaviour,
        hearing: Hearing = hear_requests,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """`host`: where it listens; each of 127.0.0.0/8 is an address of its own. `port`: 0: a free one."""
        self.requests: list[Received] = []
        self.connections = 0
        self.host = host
        self.port = port
        self._behaviours = list(behaviours) or [replying()]
        self._hearing = hearing
        self._tls = tls
        self._receive_buffer = receive_buffer
        self._peers: dict[asyncio.Task[None], Peer] = {}
        self._arrived = asyncio.Condition()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://{self.host}:{self.port}"

    async def arrived(self, count: int) -> list[Received]:
        """Returns when that many requests have been received whole."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)
        return self.requests

    async def connected(self, count: int) -> None:
        """Returns when that many connections have been accepted."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self.connections >= count)

    async def drop_connections(self) -> None:
        """Close all, as a server does with those that idle too long; returns when that is done."""
        for task, peer in list(self._peers.items()):
            peer.close()
            task.cancel()
        await asyncio.gather(*self._peers, return_exceptions=True)

    async def say(self, data: bytes) -> None:
        """Send on every connection without being asked."""
        for peer in list(self._peers.values()):
            await peer.write(data)

    async def behave(self, peer: Peer, received: Received) -> None:
        async with self._arrived:
            self.requests.append(received)
            self._arrived.notify_all()
        behaviour = self._behaviours.pop(0) if len(self._behaviours) > 1 else self._behaviours[0]
        await behaviour(peer, received)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, self.connections)
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._peers[task] = peer
        async with self._arrived:
            self.connections += 1
            self._arrived.notify_all()
        try:
            await self._hearing(self, peer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side went away, or the service ends: nobody waits for this task's result
        finally:
            self._peers.pop(task, None)
            writer.close()

    async def __aenter__(self) -> Self:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._receive_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        listener.bind((self.host, self.port))
        self._server = await asyncio.start_server(self._accept, sock=listener, ssl=self._tls, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task, peer in list(self._peers.items()):
            peer.reset()
            task.cancel()
        await asyncio.gather(*self._peers, return_exceptions=True)

    def __repr__(self) -> str:
        counts = f"requests={len(self.requests)} connections={self.connections}"
        return f"<RawService {self.host} port={self.port} {counts}>"


@contextmanager
def silent_host(address: str, port: int = 0) -> Iterator[int]:
    """A port that answers no handshake: its backlog is full and nobody empties it."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)  # noqa: FBT003
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
