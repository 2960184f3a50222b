"""Who sends in absurdly small pieces, or answers with too much, takes nothing from the others."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.raw_service import RawService, head, ok, replying

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufferproxy.testing.load import Told
    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance

ONE_BYTE = b"1\r\nx\r\n"
CHUNKED = b"POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextlib.contextmanager
def senders_of_one_byte_chunks(count: int, port: int) -> Iterator[None]:
    """As fast as they can, again and again."""
    over = threading.Event()

    def send() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as caller:
                caller.sendall(CHUNKED)
                while not over.is_set():
                    caller.sendall(ONE_BYTE * 40_000)

    threads = [threading.Thread(target=send) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


async def test_two_senders_of_one_byte_chunks_hold_up_nobody(sqlite_world: World) -> None:
    world = await asyncio.to_thread(sqlite_world.start)
    async with Load(world.proxy.url, connections=4) as load:
        with senders_of_one_byte_chunks(2, world.proxy.port):
            told = await load.send((Sent(b"/n/%d" % n, b"x" * 200) for n in range(600)), rate=100)
    waits = sorted(one.at - one.began for one in told)
    p99, lag = waits[-6], world.proxy.metrics()["bufferproxy_event_loop_lag_seconds"]
    print(f"\np99 {p99 * 1000:.1f} ms, the loop late by {lag * 1000:.1f} ms at most", end="")
    assert all(one.accepted for one in told)
    assert p99 < 0.5, "seconds where each read is parsed at once; milliseconds on a machine of one's own"
    assert world.sum("requests_refused_total", service="", reason="bad-request") > 0


async def ask(world: World, reply: bytes) -> tuple[Told, int]:
    """What a caller gets of it that waits, and how often the service had to give it."""
    async with RawService(replying(reply)) as service:
        await asyncio.to_thread(
            world.start, to=service.url, retry={"attempts": 3, "first": "50ms"}, timeout="10s"
        )
        async with Load(world.proxy.url) as load:
            told = await load.one(Sent(b"/x", headers=((b"Prefer", b"wait=20"),)))
        return told, len(service.requests)


@pytest.mark.parametrize(
    "reply",
    [
        head(200, *[b"X-%d: %b" % (n, b"x" * 1000) for n in range(70)], b"Content-Length: 2") + b"hi",
        head(200, b"X: " + b"x" * 100_000, b"Content-Length: 2") + b"hi",
        head(200, *[b"a: b"] * 20_000, b"Content-Length: 2") + b"hi",
        head(200, b"Transfer-Encoding: chunked") + b"0\r\nT: " + b"x" * 100_000 + b"\r\n\r\n",
        head(200, b"Transfer-Encoding: chunked") + ONE_BYTE * 200_000 + b"0\r\n\r\n",
    ],
    ids=["large head", "long header", "many headers", "long trailer", "one-byte chunks"],
)
async def test_a_reply_above_a_limit_of_ours_is_never_asked_for_again(
    sqlite_world: World, reply: bytes
) -> None:
    told, sends = await ask(sqlite_world, reply)

    assert (told.status, sends) == (502, 1)
    assert told.json["type"] == "urn:bufferproxy:problem:reply-too-large"
    finished = sqlite_world.sum("requests_finished_total", outcome="delivered")
    assert (finished, sqlite_world.backlog()) == (1, 0)


async def test_interim_replies_however_many_do_not_spoil_the_reply(sqlite_world: World) -> None:
    told, sends = await ask(sqlite_world, head(103, b"Link: </a.css>") * 5_000 + ok(b"hi"))

    assert (told.status, told.body, sends) == (200, b"hi", 1)
