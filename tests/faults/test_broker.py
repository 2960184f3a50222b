"""Kafka answers badly, or one broker of three is gone or stands still."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.crowd import Trial
from bufferproxy.testing.fault_proxy import FaultProxy, Toxics
from bufferproxy.testing.kafka_broker import Detour, broker, cluster
from bufferproxy.testing.load import Load
from bufferproxy.testing.ports import free_port
from bufferproxy.testing.processes import wait_until
from bufferproxy.testing.world import World, kafka_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bufferproxy.testing.history import History
    from bufferproxy.testing.kafka_broker import Broker

pytestmark = [pytest.mark.acceptance, pytest.mark.kafka]

RATE = 500
CONCURRENCY = 20
REPEATED = CONCURRENCY + int(RATE * 0.2)
LONGEST = 10.0 + 1.0
"""Seconds that a caller waits for its 202 or 503 when the log is lost, and one for a busy machine."""

LOST = {
    "answers are lost": Toxics(black_hole=True),
    "answers are cut": Toxics(reset_after=2_000),
    "answers come late": Toxics(latency=1.0, jitter=0.9),
    "answers trickle": Toxics(slice=7, pause=0.001),
    "answers end": Toxics(half_close=True),
}


@pytest.fixture(scope="module")
def bad_way(jars: Path) -> Iterator[tuple[Broker, FaultProxy]]:
    """A Kafka, and a way to it that can be made bad."""
    inner = free_port()
    with FaultProxy(inner) as way, broker(jars, detour=Detour(inner, way.port)) as kafka:
        yield kafka, way


@pytest.fixture
def detoured(tmp_path: Path, bad_way: tuple[Broker, FaultProxy]) -> Iterator[World]:
    """The proxy goes by the bad way, the worker by a good one."""
    kafka, way = bad_way
    with World(tmp_path, kafka_place(kafka.bootstrap, f"t{uuid.uuid4().hex[:8]}")) as world:
        world.logs["proxy"] = f"kafka://127.0.0.1:{way.port}"
        yield world
    way.heal()


@pytest.mark.parametrize("fault", LOST)
async def test_produce_with_the_answers_lost(
    detoured: World,
    bad_way: tuple[Broker, FaultProxy],
    fault: str,
    times: Callable[[int, int], int],
    record: Callable[[str, int, History], None],
) -> None:
    """What is sent again by the producer is stored once; callers hear 202, or that nobody knows."""
    world, (_, way) = detoured, bad_way
    faults = times(2, 40)
    await asyncio.to_thread(world.start, rate=f"{RATE}/s", concurrency=CONCURRENCY)
    await asyncio.to_thread(wait_until, world.worker.held_partitions, "the group to form")
    async with Load(world.proxy.url, connections=50) as load:
        trial = Trial(world, load)
        async with trial.crowd(rate=0.5 * RATE):
            for _ in range(faults):
                await load.accepts(200)
                async with trial.fault(fault):
                    sent = way.passed["up"]
                    way.down = LOST[fault]
                    await asyncio.to_thread(
                        wait_until, lambda sent=sent: way.passed["up"] > sent + 200, "some to be sent"
                    )
                    way.heal()
                await load.accepts(100)
        history = await trial.history()
    record(f"produce, {fault}", faults, history)
    assert max(one.at - one.began for one in load.told) < LONGEST
    assert history.complaints(rate=RATE) == []


@pytest.fixture(scope="module")
def three(jars: Path) -> Iterator[Sequence[Broker]]:
    # A session that a busy machine does not break: else brokers would come and go without being told to.
    settings = {"broker.session.timeout.ms": 6000, "broker.heartbeat.interval.ms": 1000}
    with cluster(3, jars, heap="256m", settings=settings) as brokers:
        yield brokers


@contextmanager
def killed(victim: Broker) -> Iterator[None]:
    victim.kill()
    yield
    victim.start()


@contextmanager
def frozen(victim: Broker) -> Iterator[None]:
    victim.pause()
    try:
        yield
    finally:
        victim.cont()


@pytest.mark.parametrize("how", [killed, frozen])
async def test_one_broker_of_three(
    tmp_path: Path,
    three: Sequence[Broker],
    how: Callable[[Broker], object],
    times: Callable[[int, int], int],
    record: Callable[[str, int, History], None],
) -> None:
    """With two of three copies in sync the log takes requests again before the third is back."""
    faults = times(1, 30)
    bootstrap = ",".join(one.bootstrap for one in three)
    with World(tmp_path, kafka_place(bootstrap, f"t{how.__name__}", replication=3)) as world:
        await asyncio.to_thread(world.start, rate=f"{RATE}/s", concurrency=CONCURRENCY)
        await asyncio.to_thread(wait_until, world.worker.held_partitions, "the group to form")
        async with Load(world.proxy.url, connections=50) as load:
            trial = Trial(world, load)
            async with trial.crowd(rate=0.5 * RATE):
                for n in range(faults):
                    await load.accepts(200)
                    async with trial.fault(f"one of three brokers {how.__name__}", REPEATED):
                        without_one = how(three[n % 3])
                        await asyncio.to_thread(without_one.__enter__)
                        await load.accepts(300)
                        await asyncio.to_thread(without_one.__exit__, None, None, None)
                    await load.accepts(200)
            history = await trial.history(patience=120.0)
    record(f"one of three brokers {how.__name__}", faults, history)
    assert max(one.at - one.began for one in load.told) < LONGEST
    assert history.complaints(rate=RATE) == []
