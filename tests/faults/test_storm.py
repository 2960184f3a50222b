"""Workers come and go without pause, so that their group is never done with rebalancing.

Rebalances are cooperative, always: a reader brings its own assignor, and no `kafka: options:` can put another
in its place (log/kafka/assignor.py). An eager one would take from every member at every rebalance what it
keeps, so there is no eager storm.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.crowd import Trial, share_between_two
from bufferproxy.testing.evidence import Watch, rebalances_of
from bufferproxy.testing.load import Load
from bufferproxy.testing.processes import wait_until
from bufferproxy.testing.samples import Sample, does_not_drain
from bufferproxy.testing.world import SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bufferproxy.testing.history import History
    from bufferproxy.testing.processes import Bufferproxy
    from bufferproxy.testing.world import World

pytestmark = [pytest.mark.acceptance, pytest.mark.kafka]

RATE = 300
OFFERED = 0.6 * RATE
CONCURRENCY = 12
REPEATED = CONCURRENCY + int(RATE * 0.2)
KEYS = 10
"""Few, so that there is nearly always one in flight of each, and more behind it."""
PAST_SESSION = int(OFFERED * 4)
"""Requests that are accepted in four seconds: a member is given up after three."""

STOP, KILL, GONE = "SIGTERM", "kill -9", "kill -9 past the session"
STORM = (STOP, STOP, KILL, GONE)
"""Each is an end and a new start: eight changes."""


async def test_a_storm_of_rebalances_loses_nothing_and_keeps_order_and_rate(
    short_session: World, times: Callable[[int, int], int], record: Callable[[str, int, History], None]
) -> None:
    """Two workers end and start at the same time, each as fast as it can, and a third one stays."""
    world, storms = short_session, times(1, 50)
    await asyncio.to_thread(world.start, rate=f"{RATE}/s", concurrency=CONCURRENCY, order="key")
    world.recorder.mode(delay=0.02)  # so that there is always something in flight
    everything = await share_between_two(world)
    await asyncio.to_thread(world.add_worker)
    await asyncio.to_thread(await_shared, world.workers, everything)
    before = await asyncio.to_thread(rebalances_of, world.place, SERVICE)
    async with Load(world.proxy.url, connections=20) as load:
        trial = Trial(world, load, keys=KEYS)
        async with trial.crowd(rate=OFFERED):
            await load.accepts(int(OFFERED))
            for _ in range(storms):
                ways = random.sample(STORM, len(STORM))
                async with asyncio.TaskGroup() as group:
                    for number, comer in enumerate(world.workers[:2]):
                        group.create_task(come_and_go(trial, comer, ways[number::2]))
            await asyncio.to_thread(await_shared, world.workers, everything)
        seen = await asyncio.to_thread(rebalances_of, world.place, SERVICE) - before
        history = await drained(trial)
    record(f"storm, {seen} rebalances", storms, history)
    assert seen >= 3 * storms, "no storm"
    assert history.complaints(rate=RATE, keyed=True) == []


async def come_and_go(trial: Trial, worker: Bufferproxy, ways: Iterable[str]) -> None:
    """A kill finds it at work, so that there is something to be repeated; a stop comes whatever it does."""
    for way in ways:
        if way == STOP:
            assert await asyncio.to_thread(worker.terminate) == 0
            await asyncio.to_thread(worker.start)
            continue
        await asyncio.to_thread(await_at_work, worker)
        async with trial.fault(f"{way} {worker.name}", REPEATED):
            await asyncio.to_thread(worker.kill)
            if way == GONE:
                await trial.load.accepts(PAST_SESSION)
            await asyncio.to_thread(worker.start)


async def test_two_workers_and_three_and_two_with_and_without_gaps_repeat_nothing(
    kafka_world: World, times: Callable[[int, int], int], record: Callable[[str, int, History], None]
) -> None:
    """Who came first goes first; without a gap, while the group is still busy with who has come last."""
    world, steps = kafka_world, times(4, 200)
    await asyncio.to_thread(world.start, rate=f"{RATE}/s", concurrency=CONCURRENCY, order="key")
    world.recorder.mode(delay=0.02)  # so that there is always something in flight
    everything = await share_between_two(world)
    running, away = world.workers[:], None
    async with Load(world.proxy.url, connections=20) as load:
        trial = Trial(world, load, keys=KEYS)
        async with trial.crowd(rate=OFFERED):
            await load.accepts(int(OFFERED))
            for step in range(steps):
                if step % 2 == 0:
                    running.append(await asyncio.to_thread(_come, world, away))
                else:
                    away = running.pop(0)
                    assert await asyncio.to_thread(away.terminate) == 0
                if step % 4 < 2:
                    await asyncio.to_thread(await_shared, running, everything)
            await asyncio.to_thread(await_shared, running, everything)
        history = await drained(trial)
    record("2, 3 and 2 workers", steps, history)
    assert history.faults == []
    assert history.complaints(rate=RATE, keyed=True) == []


def _come(world: World, away: Bufferproxy | None) -> Bufferproxy:
    if away is None:
        return world.add_worker()
    away.start()
    return away


def await_shared(workers: Sequence[Bufferproxy], everything: int) -> None:
    """Until these hold all there is, and each of them some."""

    def shared() -> bool:
        held = [worker.held_partitions() for worker in workers]
        return min(held) > 0 and sum(held) == everything

    wait_until(shared, f"{len(workers)} workers to share {everything} partitions", every=0.1)


def await_at_work(worker: Bufferproxy) -> None:
    """Until it has sent something in this life."""

    def sent() -> bool:
        name = "bufferproxy_delivery_attempts_total{"
        return any(count > 0 for sample, count in worker.metrics().items() if sample.startswith(name))

    wait_until(sent, f"{worker.name} to be at work")


async def drained(trial: Trial) -> History:
    """The history. C9: what is left when all is healed goes at the full rate, or nearly so."""
    healed, world = time.time(), trial.world
    patience = 120.0 + world.backlog() / (0.5 * RATE)  # a long storm leaves much behind
    with Watch(lambda: [Sample(time.time(), "backlog", world.backlog())], every=0.2) as watch:
        history = await trial.history(patience=patience)
    left = max(sample.value for sample in watch.samples)
    assert does_not_drain(watch.samples, healed=healed, within=5.0 + left / (0.8 * RATE)) == []
    return history
