"""A service that misbehaves in every way at once, and one that is gone for a while."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import pytest

from bufferproxy.clock import SystemClock
from bufferproxy.testing import raw_service as raw
from bufferproxy.testing.crowd import Trial
from bufferproxy.testing.evidence import Watch, ends_of
from bufferproxy.testing.history import History, accepts_of
from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.processes import wait_until
from bufferproxy.testing.promises import Arrival, digest_of
from bufferproxy.testing.samples import Sample, does_not_drain
from bufferproxy.testing.world import SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from bufferproxy.testing.raw_service import Behaviour, Received
    from bufferproxy.testing.world import World

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

RATE = 200

BAD: list[Behaviour] = [
    raw.slow(0.5),
    raw.trickling(raw.ok(b"x" * 50)),
    raw.reset(),
    raw.reset(after=raw.ok(b"x" * 100)[:60]),
    raw.silent(),
    raw.silent(raw.head(200, b"Content-Length: 10")),
    raw.closing(),
    raw.closing(after=b"HTTP/1.1 200 OK\r\nContent-Le"),
    raw.closing_idle(),
    raw.not_kept_alive(),
    raw.until_close(),
    raw.garbage(),
    raw.garbage(b"\x00" * 300),
    raw.oversized_head(1 << 20),
    raw.chunked(b"a", b"b", trailers=b"X: y\r\n"),
    raw.informed(100, 103),
    raw.replying(raw.ok(b"no", status=500)),
    raw.replying(raw.ok(b"") + raw.ok(b"twice")),
]


def arrival(received: Received, ahead: float) -> Arrival:
    """As the recorder would have told it."""
    id_, attempt = received.values(b"bufferproxy-id")[0], received.values(b"bufferproxy-attempt")[0]
    target = received.line.split(b" ")[1].decode()
    return Arrival(received.at + ahead, id_.decode(), int(attempt), target, digest_of(received.body), "")


async def test_a_service_that_misbehaves_in_every_way_loses_nothing(
    world: World, times: Callable[[int, int], int], record: Callable[[str, int, History], None]
) -> None:
    """What it gets wrong is tried again until it is right; each request has one end."""
    count = times(200, 5000)
    bad = random.choices(BAD, k=count)
    async with raw.RawService(*bad, raw.replying()) as service:
        retry = {"attempts": 30, "first": "100ms", "max": "1s", "budget": "100%"}
        await asyncio.to_thread(
            world.start, to=service.url, rate=f"{RATE}/s", timeout="1s", retry=retry, concurrency=50
        )
        async with Load(world.proxy.url, connections=20) as load:
            await load.send(Sent(b"/n/%d" % n, b"%d" % n) for n in range(count))
            ids = {one.id for one in load.told}
            await asyncio.to_thread(wait_until, lambda: _ended(world) >= ids, "an end for each", every=0.5)
    ahead = time.time() - SystemClock.now()
    ends = await asyncio.to_thread(ends_of, world.place, SERVICE)
    arrivals = [arrival(received, ahead) for received in service.requests]
    history = History(accepts_of(load.told, ahead), arrivals, ends)
    record("service misbehaves in every way", count, history)
    # Not the rate: these arrivals are stamped by the loop of the test itself, which has other things to do.
    assert history.complaints() == []
    assert {end.state for end in ends if end.id in ids} <= {"delivered", "retrying"}


def _ended(world: World) -> set[str]:
    return {end.id for end in ends_of(world.place, SERVICE) if end.state != "retrying"}


async def test_a_service_that_is_down_again_and_again_gets_everything_at_its_rate(
    world: World, times: Callable[[int, int], int], record: Callable[[str, int, History], None]
) -> None:
    """It goes down in the middle of requests: those are tried again, under the next number."""
    faults, held = times(2, 30), 300
    await asyncio.to_thread(
        world.start, rate=f"{RATE}/s", concurrency=20, retry={"attempts": 20, "budget": "100%"}
    )
    world.recorder.mode(delay=0.02)
    async with Load(world.proxy.url, connections=20) as load:
        trial = Trial(world, load)
        with Watch(lambda: [Sample(time.time(), "backlog", world.backlog())], every=0.2) as watch:
            async with trial.crowd(rate=0.6 * RATE):
                for _ in range(faults):
                    await load.accepts(100)
                    async with trial.fault("service down"):
                        world.recorder.down()
                        await load.accepts(held)
                        world.recorder.up()
            history = await trial.history()
    record("service down and back", faults, history)
    assert history.complaints(rate=RATE) == []
    backlog = faults * held
    within = 5.0 + backlog / (0.4 * RATE) + 10.0
    assert does_not_drain(watch.samples, healed=history.faults[-1].healed, within=within) == []
    assert max(sample.value for sample in watch.samples) > held / 2
