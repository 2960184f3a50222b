"""Who is held gets the service's answer as soon as it is there."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.processes import Bufferproxy, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from bufferproxy.testing.load import Told
    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance

HOLD = 10
"""Seconds that a caller is held. One whose answer is missed waits for all of them, and gets none."""

CALLS = (
    Sent(b"/get", method=b"GET"),
    Sent(b"/post", b"x", headers=((b"Prefer", b"wait=%d" % HOLD),)),
)


def _late(told: list[Told]) -> list[tuple[bytes, int, float]]:
    """Those that were not answered at once by the service."""
    return [
        (one.sent.method, one.status, one.at - one.began)
        for one in told
        if one.status != 200 or one.at - one.began > HOLD / 2
    ]


async def test_an_end_that_comes_before_the_acknowledgement_is_what_a_held_caller_gets(world: World) -> None:
    """The proxy hears half a second late that a request is stored; the service has answered it by then."""
    for process in ("run", "proxy"):
        world.mutants[process] = "late-acknowledgement"
    await asyncio.to_thread(world.start, safe_methods=f"wait {HOLD}s")
    async with Load(world.proxy.url, connections=10) as load:
        assert _late(await load.send(CALLS[n % 2] for n in range(40))) == []


def _descriptors(process: Bufferproxy) -> int:
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def _poll(process: Bufferproxy, id_: str) -> socket.socket:
    """A long poll, sent."""
    caller = socket.create_connection(("127.0.0.1", process.port), timeout=30.0)
    caller.sendall(
        b"GET /_bufferproxy/requests/%b HTTP/1.1\r\nHost: a\r\nPrefer: wait=60\r\n\r\n" % id_.encode()
    )
    return caller


async def _queued(world: World) -> str:
    """The id of a request that stays queued."""
    await asyncio.to_thread(world.start)
    world.recorder.down()
    async with Load(world.proxy.url, connections=1) as load:
        return (await load.one(Sent(b"/x"))).id


async def test_long_polls_that_hang_up_are_let_go_of_at_once(
    sqlite_world: World, times: Callable[[int, int], int]
) -> None:
    id_ = await _queued(sqlite_world)
    proxy, polls = sqlite_world.proxy, times(1000, 5000)
    base = _descriptors(proxy)
    few = 5  # that come and go beside: the caller before, connections to the service, files of the log
    with ExitStack() as stack:
        for _ in range(polls):
            stack.enter_context(_poll(proxy, id_))
        wait_until(lambda: _descriptors(proxy) >= base + polls - few, "the polls to be accepted")
    hung_up = time.monotonic()
    wait_until(lambda: _descriptors(proxy) <= base + few, "the polls to be let go of", patience=10.0)
    assert time.monotonic() - hung_up < 3.0


async def test_a_long_poll_does_not_hold_up_the_end_of_a_process_and_is_answered(sqlite_world: World) -> None:
    id_ = await _queued(sqlite_world)
    with _poll(sqlite_world.proxy, id_) as poll, _poll(sqlite_world.proxy, "x") as refused:
        assert refused.recv(100).startswith(b"HTTP/1.1 404"), "the poll before it was read too"
        began = time.monotonic()
        assert await asyncio.to_thread(sqlite_world.proxy.terminate) == 0
        assert time.monotonic() - began < 5.0, "of the 30 s that what is in flight may take"
        answer = poll.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"state": "queued"' in answer


@pytest.mark.kafka
async def test_no_held_caller_misses_the_answer_of_a_fast_service(
    kafka_world: World, times: Callable[[int, int], int]
) -> None:
    """Proxy and worker are processes of their own: now and then an end is read before the acknowledgement."""
    world = await asyncio.to_thread(kafka_world.start, safe_methods=f"wait {HOLD}s")
    async with Load(world.proxy.url, connections=4) as load:
        assert _late(await load.send(CALLS[n % 2] for n in range(times(300, 20_000)))) == []
