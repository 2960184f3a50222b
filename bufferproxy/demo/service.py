"""The fragile service as a process: `python -m bufferproxy.demo.service FRAGILITY`, a JSON list.

It listens on a free port of loopback, says on stdout which, then reports ten times a second what arrived and
what became of it, and ends when its stdin does: so it never outlives who started it. How it behaves is
decided by `fragile.py`; here are the sockets. They are bare, for two things that asyncio's streams cannot do:
arrival times stamped by the kernel, which are right however busy this process is, and resets.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import sys
from typing import NamedTuple

import httptools

from bufferproxy.clock import Clock, SystemClock
from bufferproxy.demo.fragile import Crashed, Down, Fragile, Fragility, Full, Waiting, Working
from bufferproxy.demo.reports import Ending, How, Ready, Report, encode

_REPORT_EVERY = 0.1
_TIMESTAMPS = getattr(socket, "SO_TIMESTAMPNS", 35 if sys.platform == "linux" else None)
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 20\r\n\r\n"
    b"no connection, sorry"
)
_GARBAGE = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class _Asked(NamedTuple):
    """A request that is here. `at`: when its first byte arrived."""

    connection: _Connection
    at: float
    id: str


class Service:
    """Listens from its construction on. `port` is where."""

    def __init__(self, fragility: Fragility, clock: Clock) -> None:
        self._fragile = Fragile(fragility)
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._asked: dict[int, _Asked] = {}
        self._working: dict[int, asyncio.TimerHandle] = {}
        self._connections: set[_Connection] = set()
        self._numbers = 0
        self._arrived: list[float] = []
        self._ended: list[Ending] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.settimeout(0.0)
        self.port: int = self._listener.getsockname()[1]
        self.kernel = _stamp_arrivals(self._listener)

    async def serve(self) -> None:
        """Until cancelled."""
        try:
            while True:
                accepted, _ = await self._loop.sock_accept(self._listener)
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _stamp_arrivals(accepted)
                connection = _Connection(accepted, self, self._clock)
                if self._fragile.down(self._clock.now()):
                    connection.reset()
                else:
                    self._connections.add(connection)
        finally:
            self._listener.close()
            for connection in list(self._connections):
                connection.close()

    def report(self) -> Report:
        """What happened since the last one."""
        arrived, self._arrived = self._arrived, []
        ended, self._ended = self._ended, []
        fragile = self._fragile
        return Report(arrived, ended, fragile.working, fragile.waiting, fragile.down(self._clock.now()))

    # --- called by connections ---

    def received(self, connection: _Connection, at: float, id_: str) -> None:
        self._arrived.append(at)
        self._numbers += 1
        number = self._numbers
        self._asked[number] = _Asked(connection, at, id_)
        match self._fragile.arrive(number, self._clock.now(), self._clock.random()):
            case Working() as work:
                self._work(work)
            case Full():
                self._answer(number, How.FULL)
            case Down():
                self._answer(number, How.RESET)
            case Crashed(lost=lost):
                self._crash(lost)
            case Waiting():
                pass

    def gone(self, connection: _Connection) -> None:
        self._connections.discard(connection)

    # --- what becomes of requests ---

    def _work(self, work: Working) -> None:
        self._working[work.request] = self._loop.call_later(work.seconds, self._done, work.request)

    def _done(self, number: int) -> None:
        del self._working[number]
        self._answer(number, How.OK)
        upcoming = self._fragile.finish(number, self._clock.now(), self._clock.random())
        if upcoming is not None:
            self._work(upcoming)

    def _crash(self, lost: tuple[int, ...]) -> None:
        for timer in self._working.values():
            timer.cancel()
        self._working.clear()
        for number in lost:
            self._answer(number, How.RESET)
        for connection in list(self._connections):
            connection.reset()

    def _answer(self, number: int, how: How) -> None:
        asked, now = self._asked.pop(number), self._clock.now()
        if how is How.RESET:
            asked.connection.reset()
        elif not asked.connection.send(_OK if how is How.OK else _FULL) and how is How.OK:
            how = How.UNHEARD
        self._ended.append(Ending(now, now - asked.at, how, asked.id))

    def __repr__(self) -> str:
        return f"<Service port={self.port} {self._fragile!r}>"


class _Connection:
    """One caller. Also httptools' receiver of callbacks."""

    def __init__(self, accepted: socket.socket, service: Service, clock: Clock) -> None:
        self._socket = accepted
        self._service = service
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._at: float | None = None
        self._stamp = 0.0
        self._id = ""
        self._loop.add_reader(accepted, self._readable)

    def send(self, data: bytes) -> bool:
        """False when the caller is gone."""
        if self._socket.fileno() < 0:
            return False
        try:
            # Replies are a few bytes and callers ask one thing at a time: the system's buffer has room.
            return self._socket.send(data) == len(data)
        except OSError:
            self.close()
            return False

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()
        self._service.gone(self)

    def reset(self) -> None:
        if self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def _readable(self) -> None:
        try:
            data, ancillary, _, _ = self._socket.recvmsg(1 << 16, 128)
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        if not data:
            self.close()
            return
        self._stamp = self._arrival(ancillary)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.send(_GARBAGE)
            self.close()

    def _arrival(self, ancillary: list[tuple[int, int, bytes]]) -> float:
        """When what was just read reached this machine, in seconds of our clock. The kernel's stamp is in
        wall time; how long ago that was, is taken off our own now."""
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == _TIMESTAMPS:
                seconds, nanoseconds = struct.unpack("qq", data[:16])
                ago: float = self._clock.wall() - seconds - nanoseconds / 1e9
                return self._clock.now() - max(0.0, ago)
        return self._clock.now()

    def on_message_begin(self) -> None:
        self._at = self._stamp

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"bufferproxy-id":
            self._id = value.decode("latin-1")

    def on_message_complete(self) -> None:
        at, self._at = self._at or self._stamp, None
        id_, self._id = self._id, ""
        self._service.received(self, at, id_)


def _stamp_arrivals(on: socket.socket) -> bool:
    """Ask the kernel to note when bytes arrive. False where it does not know how."""
    if _TIMESTAMPS is None:
        return False
    try:
        on.setsockopt(socket.SOL_SOCKET, _TIMESTAMPS, 1)
    except OSError:
        return False
    return True


async def _main(fragility: Fragility) -> None:
    clock = SystemClock()
    service = Service(fragility, clock)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Nothing is ever written to our stdin: it becomes readable at its end.
    loop.add_reader(sys.stdin.fileno(), ended.set)
    _tell(encode(Ready(service.port, service.kernel)))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(service.serve()), group.create_task(_report(service, clock))]
        await ended.wait()
        for task in tasks:
            task.cancel()
    _tell(encode(service.report()))


async def _report(service: Service, clock: Clock) -> None:
    while True:
        await clock.sleep(_REPORT_EVERY)
        _tell(encode(service.report()))


def _tell(line: bytes) -> None:
    while line:
        line = line[os.write(sys.stdout.fileno(), line) :]


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        asyncio.run(_main(Fragility(*json.loads(sys.argv[1]))))
