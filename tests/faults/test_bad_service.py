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
from bufferproxy.testing.fault_proxy import FaultProxy, Toxics
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

pytestmark = [pytest.mark.acceptance]

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
        history = await _of_all(world, service, count)
    record("service misbehaves in every way", count, history)
    # Not the rate: these arrivals are stamped by the loop of the test itself, which has other things to do.
    assert history.complaints() == []
    assert {end.state for end in history.ends} <= {"delivered", "retrying"}


async def test_a_service_that_closes_what_idles_just_when_it_is_needed_loses_nothing(
    world: World, times: Callable[[int, int], int], record: Callable[[str, int, History], None]
) -> None:
    """After about the time between two requests of a connection, so that the two meet now and then."""
    count, concurrency = times(800, 5000), 4
    idle = raw.closing_when_idle(lambda: random.uniform(0.8, 1.1) * concurrency / RATE)
    async with raw.RawService(hearing=idle) as service:
        retry = {"attempts": 30, "first": "50ms", "max": "50ms", "budget": "100%"}
        await asyncio.to_thread(
            world.start, to=service.url, rate=f"{RATE}/s", retry=retry, concurrency=concurrency
        )
        history = await _of_all(world, service, count)
    met = sum(attempt.attempt > 1 for attempt in history.attempts)
    record(f"service closes idle connections, {met} just when used", count, history)
    assert service.connections > count / 20
    assert history.complaints() == []


async def _of_all(world: World, service: raw.RawService, count: int) -> History:
    """So many requests, once each of them has an end."""
    async with Load(world.proxy.url, connections=20) as load:
        await load.send(Sent(b"/n/%d" % n, b"%d" % n) for n in range(count))
        ids = {one.id for one in load.told}
        await asyncio.to_thread(wait_until, lambda: _ended(world) >= ids, "an end for each", every=0.5)
    ahead = time.time() - SystemClock.now()
    ends = await asyncio.to_thread(ends_of, world.place, SERVICE)
    arrivals = [arrival(received, ahead) for received in service.requests]
    return History(accepts_of(load.told, ahead), arrivals, ends)


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
            await asyncio.to_thread(wait_until, lambda: watch.samples[-1].value == 0, "nothing is open")
    record("service down and back", faults, history)
    assert history.complaints(rate=RATE) == []
    backlog = faults * held
    within = 5.0 + backlog / (0.4 * RATE) + 10.0
    assert does_not_drain(watch.samples, healed=history.faults[-1].healed, within=within) == []
    assert max(sample.value for sample in watch.samples) > held / 2


async def test_a_service_that_is_gone_without_a_word_gets_everything_when_it_is_back(
    world: World, times: Callable[[int, int], int], record: Callable[[str, int, History], None]
) -> None:
    """Half open: all that is sent is swallowed, or all that is answered, and new connections are made as
    ever; or those of now are silent for good, while new ones are sound. Nobody says so."""
    faults, held = times(3, 30), 200
    with FaultProxy(world.recorder.port) as way:
        retry = {"attempts": 30, "first": "100ms", "max": "1s", "budget": "100%"}
        url = f"http://127.0.0.1:{way.port}"
        await asyncio.to_thread(
            world.start, to=url, rate=f"{RATE}/s", timeout="1s", retry=retry, concurrency=20
        )
        world.recorder.mode(delay=0.02)
        async with Load(world.proxy.url, connections=20) as load:
            trial = Trial(world, load)
            async with trial.crowd(rate=0.6 * RATE):
                for number in range(faults):
                    await load.accepts(100)
                    async with trial.fault("half open"):
                        _half_open(way, number)
                        await load.accepts(held)
                        way.heal()
            healed = time.time()
            with Watch(lambda: [Sample(time.time(), "backlog", world.backlog())], every=0.2) as watch:
                history = await trial.history()
    record("service half open", faults, history)
    # Not the rate: what passes the fault proxy is bunched by the loop of the test itself.
    assert history.complaints() == []
    assert any(attempt.attempt > 1 for attempt in history.attempts)
    within = 10.0 + faults * held / RATE
    assert does_not_drain(watch.samples, healed=healed, within=within) == []


def _half_open(way: FaultProxy, number: int) -> None:
    match number % 3:
        case 0:
            way.forget()
        case 1:
            way.up = Toxics(black_hole=True)
        case 2:
            way.down = Toxics(black_hole=True)
