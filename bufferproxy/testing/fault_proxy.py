"""A TCP proxy on loopback that makes a connection bad, as toxiproxy does, in a thread of its own.

    with FaultProxy(broker_port) as proxy:
        ...                                          # clients connect to proxy.port
        proxy.down = Toxics(latency=0.2, jitter=0.05)  # from now on, from the server to its clients
        proxy.heal()

`up` is the way from clients to the server, `down` the way back. Everything may be called from any thread and
holds from the next piece of data on. What a black hole has swallowed is gone: such a connection is reset when
it is healed, for it can never be whole again. A stalled one goes on where it stood.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from math import inf
from typing import TYPE_CHECKING, NamedTuple, Self

from bufferproxy.testing.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

PIECE = 1 << 16
TICK = 0.01
"""Seconds between two looks of what is stalled or swallowed at whether it is healed."""


class Toxics(NamedTuple):
    """What is wrong in one direction.

    `latency`, `jitter`: seconds that each piece is late, and by which that varies; pieces keep their order.
    `bandwidth`: bytes per second. `slice`: bytes of the largest piece, `pause`: seconds between two of them.
    `black_hole`: read everything, pass nothing on. `stall`: read nothing. `reset_after`: bytes after which
    both sides get a reset. `half_close`: the receiver sees the end of the stream, the sender does not.
    """

    latency: float = 0.0
    jitter: float = 0.0
    bandwidth: float = inf
    slice: int = 0
    pause: float = 0.0
    black_hole: bool = False
    stall: bool = False
    reset_after: float = inf
    half_close: bool = False


SOUND = Toxics()
FORGOTTEN = Toxics(black_hole=True)


class FaultProxy:
    """`port` is chosen when 0 is given; `upstream` is a port on loopback, and may be set later."""

    def __init__(self, upstream: int, *, port: int = 0, seed: int = 0) -> None:
        self.port = port or free_port()
        self.upstream = upstream
        self.up = SOUND
        self.down = SOUND
        self.refusing = False
        """New connections are reset at once."""
        self.accepted = 0
        self.passed = {"up": 0, "down": 0}
        """Bytes that were passed on, by direction."""
        self.random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self._links: set[_Link] = set()
        self._listening = threading.Event()
        self._server: asyncio.Server | None = None

    # --- for tests, in any thread -------------------------------------------------------------------------

    def heal(self) -> None:
        """Nothing is wrong any more."""
        self.up = self.down = SOUND
        self.refusing = False

    def reset(self) -> None:
        """Every connection, now."""
        self._each(_Link.reset)

    def forget(self) -> None:
        """Every connection of now is half open for good: nothing passes on it, and nobody is told, as when a
        firewall has lost its table. New ones are sound."""
        self._each(_Link.forget)

    def _each(self, change: Callable[[_Link], None]) -> None:
        done = threading.Event()

        def change_all() -> None:
            for link in tuple(self._links):
                change(link)
            done.set()

        self._loop.call_soon_threadsafe(change_all)
        done.wait()

    def partition(self) -> None:
        """Nothing passes, either way, and nothing is lost: as when a cable is pulled out for a while."""
        self.up = self.down = Toxics(stall=True)

    @property
    def connections(self) -> int:
        return len(self._links)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    # --- the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._loop.run_until_complete(self._listen())
        self._listening.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=1024)

    async def _end(self) -> None:
        assert self._server is not None
        self._server.close()
        for link in tuple(self._links):
            link.reset()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.refusing:
            _reset(writer)
            return
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            _reset(writer)
            return
        link = _Link(self, (reader, writer), upstream)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)

    def __repr__(self) -> str:
        return f"<FaultProxy {self.port} -> {self.upstream} {len(self._links)} connections>"


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """One connection through the proxy: two pumps, and one fate."""

    def __init__(self, proxy: FaultProxy, client: Ends, server: Ends) -> None:
        self.proxy = proxy
        self.forgotten = False
        self._writers = (client[1], server[1])
        self._pumps = (
            _Pump(self, "up", client[0], server[1]),
            _Pump(self, "down", server[0], client[1]),
        )

    async def run(self) -> None:
        """Until both directions have ended, or one of them was reset."""
        try:
            async with asyncio.TaskGroup() as group:
                for pump in self._pumps:
                    group.create_task(pump.read())
                    group.create_task(pump.write())
        except* (OSError, _Over):
            self.reset()
        finally:
            for writer in self._writers:
                writer.close()

    def reset(self) -> None:
        for writer in self._writers:
            _reset(writer)

    def forget(self) -> None:
        self.forgotten = True


class _Over(Exception):
    """This connection is to be reset."""


class _Pump:
    """One direction of a connection. Reading and writing are apart, so that what is late delays nothing but
    itself."""

    def __init__(
        self, link: _Link, direction: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._link = link
        self._proxy = link.proxy
        self._direction = direction
        self._reader = reader
        self._writer = writer
        self._late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)
        self._due = 0.0
        self._passed = 0

    @property
    def toxics(self) -> Toxics:
        if self._link.forgotten:
            return FORGOTTEN
        return self._proxy.up if self._direction == "up" else self._proxy.down

    async def read(self) -> None:
        loop = asyncio.get_running_loop()
        data = b"-"
        while data:
            await self._while_stalled()
            data = await self._reader.read(PIECE)
            toxics = self.toxics
            late = toxics.latency + toxics.jitter * self._proxy.random.uniform(-1, 1)
            self._due = max(self._due, loop.time() + late)
            await self._late.put((self._due, data))

    async def write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await self._late.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self._while_stalled()
            if self.toxics.black_hole:
                await self._swallow(data)
            if not data:
                break
            await self._pass_on(data)
            if self.toxics.half_close:
                break
        if self._writer.can_write_eof() and not self._writer.is_closing():
            self._writer.write_eof()

    async def _pass_on(self, data: bytes) -> None:
        toxics = self.toxics
        size = toxics.slice or (max(1, int(toxics.bandwidth * TICK)) if toxics.bandwidth < inf else PIECE)
        for begin in range(0, len(data), size):
            piece = data[begin : begin + size]
            left = toxics.reset_after - self._passed
            self._writer.write(piece if len(piece) <= left else piece[: int(left)])
            await self._writer.drain()
            self._passed += len(piece)
            self._proxy.passed[self._direction] += len(piece)
            if self._passed >= toxics.reset_after:
                raise _Over
            if toxics.bandwidth < inf:
                await asyncio.sleep(len(piece) / toxics.bandwidth)
            if toxics.pause:
                await asyncio.sleep(toxics.pause)

    async def _while_stalled(self) -> None:
        while self.toxics.stall:  # noqa: ASYNC110 - any thread may heal it, at any time
            await asyncio.sleep(TICK)

    async def _swallow(self, data: bytes) -> None:
        """Until it is healed; what is forgotten, until its own side has given it up."""
        while self.toxics.black_hole and (data or not self._link.forgotten):
            with contextlib.suppress(TimeoutError):
                _, data = await asyncio.wait_for(self._late.get(), TICK)
        raise _Over


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
