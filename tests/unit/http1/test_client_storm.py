"""Many exchanges at once over one pool, with a service that misbehaves at random."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from bufferproxy.clock import SystemClock
from bufferproxy.http1.client import Deadlines
from bufferproxy.http1.pool import Pool
from bufferproxy.http1.reply import Failure, Kind, Phase, Reply
from bufferproxy.http1.target import parse_target
from bufferproxy.testing import raw_service as raw
from bufferproxy.testing.raw_service import Peer, RawService, Received

CALLERS, EACH = 12, 40
DEADLINES = Deadlines(send=5.0, first_byte=5.0, whole=5.0)


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


def at_random(chance: random.Random) -> raw.Behaviour:
    """Answer with the request's own body, in any shape, or fail in any way."""

    async def behave(peer: Peer, received: Received) -> None:
        own = received.body
        good = [
            raw.replying(raw.ok(own)),
            raw.chunked(own[:2], own[2:]),
            raw.until_close(own),
            raw.not_kept_alive(own),
            raw.closing_idle(own),
            raw.informed(100, 103, then=raw.ok(own)),
            raw.trickling(raw.ok(own)),
            raw.replying(raw.ok(own) + raw.ok(b"nobody asked")),
        ]
        bad = [
            raw.reset(),
            raw.reset(raw.ok(own)[:-1]),
            raw.closing(),
            raw.closing(raw.ok(own)[:-1]),
            raw.garbage(),
        ]
        await chance.choice(good if chance.random() < 0.8 else bad)(peer, received)

    return behave


@pytest.mark.parametrize("seed", range(4))
async def test_every_reply_belongs_to_its_request_and_nothing_is_sent_twice(seed: int) -> None:
    chance = random.Random(seed)
    results: dict[bytes, Reply | Failure] = {}
    async with RawService(at_random(chance)) as service:
        pool = Pool(parse_target(service.url), clock=SystemClock(), idle=CALLERS // 2)

        async def call(caller: int) -> None:
            for number in range(EACH):
                body = b"%d/%d" % (caller, number)
                head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
                connection = await pool.acquire()
                assert not isinstance(connection, Failure), connection
                exchange = connection.exchange(head, body, head_request=False, deadlines=DEADLINES)
                if chance.random() < 0.05:
                    exchange.cancel()  # somebody gives up
                else:
                    results[body] = await exchange
                pool.release(connection)

        async with asyncio.TaskGroup() as group:
            for caller in range(CALLERS):
                group.create_task(call(caller))
        await pool.close()
        arrived = Counter(received.body for received in service.requests)

    assert len(results) > CALLERS * EACH * 0.8
    assert set(arrived.values()) == {1}
    for body, result in results.items():
        if isinstance(result, Reply):
            assert (result.status, result.body) == (200, body)
        else:
            assert result.phase is not Phase.CONNECT
            assert result.kind in {Kind.RESET, Kind.CLOSED, Kind.GARBAGE}
            assert result.sent or body not in arrived
