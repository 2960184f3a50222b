"""A service that writes down what reaches it, in a process of its own.

    python -m bufferproxy.testing.recorder PORT CONTROL_PORT [HOST]

On PORT of HOST (127.0.0.1 unless told otherwise) it answers every request, and keeps for each the moment its
first byte was read, its id, its attempt, its target, its body's digest and its key. On CONTROL_PORT tests
talk to it:

    GET  /arrivals  /count  /stalls     what was kept; when its loop stood still: [since the epoch, seconds]
    POST /mode                          how it answers, see `Mode`; JSON, only what changes
    POST /forget  /down  /up            down: nobody listens, and every connection is cut

Arrivals carry the kernel's own stamp of when they were received, so a recorder that lags moves none of them.
But whoever keeps it from running may keep bufferproxy from running, and then no rate can be reached: stalls
tell a slow product from a busy machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import uvloop

from bufferproxy.testing.promises import digest_of

SO_TIMESTAMPNS = 35
"""Linux tells with each read when the kernel received it (socket(7)); Python has no name for it."""

Row = tuple[float, str, int, str, str, str]
"""(seconds since the epoch, id, attempt, target, digest of the body, key): `promises.Arrival`."""


Hear = Callable[["Peer", float, bytes, bytes], None]
"""Takes a request: who sent it, when its first byte came, head and body."""


STALL = 0.005
"""Seconds that its loop sleeps, and by which it must be late to be told."""


class Mode(NamedTuple):
    """How it answers. `headers`: whole lines. `delay` in seconds. `first`: statuses of a request's first
    attempts, in place of `status`. `stuck`: this target is never answered. `only`: all of it is only for
    targets that begin so, and the others are answered at once."""

    status: int = 200
    delay: float = 0.0
    headers: str = ""
    body: str = "ok"
    first: tuple[int, ...] = ()
    stuck: str = ""
    only: str = ""


class Recorder:
    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.arrivals: list[Row] = []
        self.mode = Mode()
        self.stalls: list[tuple[float, float]] = []
        self._port = port
        self._host = host
        self._door: Door | None = None

    def up(self) -> None:
        if self._door is None:
            self._door = Door(self._port, self.hear, self._host)

    def down(self) -> None:
        if self._door is not None:
            self._door.close()
            self._door = None

    def hear(self, peer: Peer, first_byte: float, head: bytes, body: bytes) -> None:
        """A request of bufferproxy's."""
        target = head.split(b" ", 2)[1].decode("latin-1")
        fields = _fields(head)
        attempt = int(fields.get(b"bufferproxy-attempt", 0))
        id_, key = (fields.get(name, b"").decode() for name in (b"bufferproxy-id", b"x-key"))
        self.arrivals.append((first_byte, id_, attempt, target, digest_of(body), key))
        mode = self.mode
        if not target.startswith(mode.only):
            mode = Mode()
        if mode.stuck and target == mode.stuck:
            return
        status = mode.first[attempt - 1] if 0 < attempt <= len(mode.first) else mode.status
        answer = _reply(status, mode.body.encode(), mode.headers)
        if mode.delay:
            asyncio.get_running_loop().call_later(mode.delay, peer.write, answer)
        else:
            peer.write(answer)

    def control(self, peer: Peer, _: float, head: bytes, body: bytes) -> None:
        """A request of a test's."""
        asked = self._told(head.split(b" ", 2)[1].decode(), body)
        peer.write(_reply(200, json.dumps(asked).encode()))

    def _told(self, what: str, body: bytes) -> Any:
        match what:
            case "/arrivals":
                return self.arrivals
            case "/count":
                return len(self.arrivals)
            case "/stalls":
                return self.stalls
            case "/mode":
                self.mode = self.mode._replace(**json.loads(body))
            case "/forget":
                self.arrivals.clear()
                self.stalls.clear()
            case "/down":
                self.down()
            case "/up":
                self.up()
        return None

    async def watch_stalls(self) -> None:
        while True:
            before = time.time()
            await asyncio.sleep(STALL)
            late = time.time() - before - STALL
            if late > STALL:
                self.stalls.append((before, late))


class Door:
    """A port that is listened on until `close`, and who came through it."""

    def __init__(self, port: int, hear: Hear, host: str = "127.0.0.1") -> None:
        self._hear = hear
        self._peers: set[Peer] = set()
        self._listener = socket.create_server((host, port), backlog=1024)
        # Those that come through it inherit this, from their first byte on.
        self._listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._listener.setblocking(False)  # noqa: FBT003
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._peers.add(Peer(self._listener.accept()[0], self._hear, self._peers.discard))

    def close(self) -> None:
        """And cut every connection."""
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        for peer in tuple(self._peers):
            peer.close()


class Peer:
    """One connection. Requests have a Content-Length or no body: bufferproxy sends them so."""

    def __init__(self, connection: socket.socket, hear: Hear, gone: Callable[[Peer], None]) -> None:
        connection.setblocking(False)  # noqa: FBT003
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._hear = hear
        self._gone = gone
        self._buffer = b""
        self._first_byte = 0.0
        asyncio.get_running_loop().add_reader(connection, self._read)

    def _read(self) -> None:
        try:
            data, ancillary, _, _ = self._connection.recvmsg(1 << 18, 64)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        if not self._buffer:
            self._first_byte = _stamp(ancillary)
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            whole = end + 4 + int(_fields(head).get(b"content-length", 0))
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
            self._hear(self, self._first_byte, head, body)

    def write(self, data: bytes) -> None:
        """Blocks until all is taken: replies are small, and tests read what they ask for."""
        if self._connection.fileno() >= 0:
            with contextlib.suppress(OSError):
                self._connection.setblocking(True)  # noqa: FBT003
                self._connection.sendall(data)
                self._connection.setblocking(False)  # noqa: FBT003

    def close(self) -> None:
        if self._connection.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._connection)
            self._connection.close()
            self._gone(self)


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> float:
    """When the kernel received it, in seconds since the epoch."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = struct.unpack("qq", data)
            return float(seconds + nanoseconds / 1e9)
    return time.time()  # where the kernel does not tell


def _reply(status: int, body: bytes, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _fields(head: bytes) -> dict[bytes, bytes]:
    fields = {}
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        fields[name.lower()] = value.strip()
    return fields


async def _serve(port: int, control_port: int, host: str = "127.0.0.1") -> None:
    recorder = Recorder(port, host)
    recorder.up()
    control = Door(control_port, recorder.control)
    gc.disable()  # a collection would show as lag, and nothing here makes cycles that matter
    try:
        await recorder.watch_stalls()
    finally:
        control.close()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
