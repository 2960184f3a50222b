"""A flood of callers that takes every descriptor: probes are answered, the flood is said, and it passes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.processes import get, wait_until

if TYPE_CHECKING:
    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance

TURNED_AWAY = 'bufferproxy_connections_turned_away_total{plane="data"}'
LIMIT = 256


def connected(port: int, count: int, stack: contextlib.ExitStack) -> None:
    """So many idle connections, as far as they are let."""
    for _ in range(count):
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))


async def test_a_flood_of_idle_callers_leaves_the_admin_plane_its_descriptors(sqlite_world: World) -> None:
    world = sqlite_world
    world.prefix = ("prlimit", f"--nofile={LIMIT}:{LIMIT}")
    await asyncio.to_thread(world.start)
    proxy = world.proxy
    with contextlib.ExitStack() as flood:
        await asyncio.to_thread(connected, proxy.port, 2 * LIMIT, flood)
        await asyncio.to_thread(connected, proxy.admin_port, LIMIT, flood)
        await asyncio.to_thread(
            wait_until, lambda: proxy.metrics()[TURNED_AWAY] > LIMIT, "callers to be turned away"
        )
        for path in ("readyz", "api/v1/services"):
            began = time.monotonic()
            answer = get(f"{proxy.admin}/{path}")
            assert time.monotonic() - began < 2.0
            if path == "readyz":
                detail = next(one["detail"] for one in answer["checks"] if one["check"] == "connections")
                assert "turned away" in detail
        assert "callers are turned away" in proxy.output.read_text()
        with pytest.raises((ConnectionError, TimeoutError)):
            ask(proxy.port)
    async with Load(proxy.url) as load:
        for _ in range(1000):
            if (await load.one(Sent(b"/after"))).accepted:
                break
        assert load.accepted == 1
    await asyncio.to_thread(world.await_settled)
    assert proxy.running


def ask(port: int) -> bytes:
    """The answer of the data plane; raises when there is none."""
    with socket.create_connection(("127.0.0.1", port), 5) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = caller.recv(100)
        if not answer:
            raise ConnectionResetError
        return answer


async def test_one_connection_costs_the_admin_plane_no_more_than_its_limits(sqlite_world: World) -> None:
    world = await asyncio.to_thread(sqlite_world.start)
    before = resident(world.proxy.pid)
    for line in (b"X-Large: " + b"x" * 100_000 + b"\r\n", b"a: b\r\n"):
        refused = await asyncio.to_thread(endless_head, world.proxy.admin_port, line)
        assert refused.startswith(b"HTTP/1.1 431 ")
    assert resident(world.proxy.pid) - before < 8 << 20


def endless_head(port: int, line: bytes) -> bytes:
    """Send headers until the answer comes."""
    with socket.create_connection(("127.0.0.1", port), 5) as caller:
        caller.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 200 << 20:
                caller.sendall(line * (1 + 60_000 // len(line)))
                sent += 60_000
                caller.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    return caller.recv(1000)
                caller.settimeout(5)
        return b""


def resident(pid: int) -> int:
    """Bytes."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * 4096
