"""What is accepted can be delayed, tried again, dead and redriven, however large; the rest is refused."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.processes import wait_until
from bufferproxy.testing.raw_service import RawService, ok, replying
from bufferproxy.testing.world import SERVICE

if TYPE_CHECKING:
    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance

BODY, TARGET, HEADERS = 1 << 20, 16 << 10, 64 << 10
"""Of `body` and `receive`, by default."""
LINES = b"Host: %b\r\nContent-Length: %d\r\nPrefer: respond-async\r\n"
IDEMPOTENCY_KEY = b'Idempotency-Key: "%b"\r\n' % (rb"\"" * 255)
USER = b"X-User: " + b"u" * 1024 + b"\r\n"

ANSWER = ok(b"b" * BODY, *(b"X-%d: %b" % (n, b"h" * 1000) for n in range(60)), status=500)
"""It fills what a dead letter keeps of it."""


WIDE = {"target": 32 << 10, "headers": 160 << 10}


def largest(
    number: int, *lines: bytes, body: int = BODY, target: int = TARGET, headers: int = HEADERS
) -> Sent:
    """A head as large as `target` and `headers` say: short lines, and one that fills up what is left."""
    path = b"/%d/" % number
    path += b"t" * (target - len(path))
    fields = b"".join((LINES % (b"h" * 255, body), *lines, b"a:\r\n" * 150))
    fields += b"b:" + b"x" * (headers - len(fields) - 6) + b"\r\n\r\n"
    return Sent(path, b"y" * body, raw=b"POST %b HTTP/1.1\r\n%b" % (path, fields))


def redrive(world: World) -> Any:
    line = ["dead", "redrive", SERVICE, "--all", "--yes", "-o", "json", "--admin", world.proxy.admin]
    ran = subprocess.run(
        [sys.executable, "-m", "bufferproxy", *line], capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


async def test_the_largest_request_is_settled_whatever_becomes_of_it(world: World) -> None:
    # More than topics are made for by default.
    world.settings["receive"] = {"target_bytes": "32KiB", "header_bytes": "160KiB"}
    async with RawService(*[replying(ANSWER)] * 6, replying(ok())) as service:
        retry = {"attempts": 2, "first": "250ms", "jitter": "none"}
        await asyncio.to_thread(
            world.start, to=service.url, retry=retry, key="header:X-User", key_rate="100/s", rate="unlimited"
        )
        async with Load(world.proxy.url, connections=4) as load:
            told = await load.send(
                [
                    largest(0, IDEMPOTENCY_KEY, USER, **WIDE),
                    largest(1, b"Bufferproxy-Key: " + b"k" * 1024 + b"\r\n", **WIDE),
                    largest(2, IDEMPOTENCY_KEY, USER, b"Bufferproxy-Delay: 500ms\r\n", **WIDE),
                ]
            )
            assert [one.status for one in told] == [202] * 3
            # All of them are tried twice, through the tiers, and end with the largest answer that is kept.
            await asyncio.to_thread(
                wait_until, lambda: world.sum("dead_letters") == 3, "three dead letters", every=0.2
            )
            assert (await asyncio.to_thread(redrive, world))["done"] == 3
            await asyncio.to_thread(world.await_settled)
            asked = [Sent(b"/_bufferproxy/requests/" + one.id.encode(), method=b"GET") for one in told]
            assert [one.json["state"] for one in await load.send(asked)] == ["delivered"] * 3
        assert len(service.requests) == 9
        assert {len(received.body) for received in service.requests} == {BODY}


TOO_LARGE = [
    (largest(0, body=BODY + 1), 413, "body-too-large"),
    (largest(0, target=TARGET + 1), 414, "target-too-long"),
    (largest(0, headers=HEADERS + 3), 431, "headers-too-large"),
    (largest(0, b"Bufferproxy-Key: " + b"k" * 1025 + b"\r\n"), 400, "bad-request"),
    (largest(0, USER.replace(b"\r\n", b"u\r\n")), 400, "bad-request"),
    (largest(0, b"Idempotency-Key: " + b"k" * 256 + b"\r\n"), 400, "bad-idempotency-key"),
    (largest(0, b"Idempotency-Key: " + b"k" * 57_000 + b"\r\n"), 400, "bad-idempotency-key"),
]


async def test_what_is_larger_than_any_limit_is_refused_and_nothing_is_stored(sqlite_world: World) -> None:
    await asyncio.to_thread(sqlite_world.start, key="header:X-User", order="key")
    for over, status, slug in TOO_LARGE:
        async with Load(sqlite_world.proxy.url) as load:
            told = await load.one(over)
        assert (told.status, told.json["type"].rpartition(":")[2]) == (status, slug)
    assert sqlite_world.sum("requests_accepted_total") == 0
