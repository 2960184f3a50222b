"""C10: the ordinary scenario with a deliberate bug makes its check complain, and without it none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.crowd import Trial
from bufferproxy.testing.load import Load
from bufferproxy.testing.mutants import MUTANTS

if TYPE_CHECKING:
    from bufferproxy.testing.history import History
    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance

RATE = 500
CONCURRENCY = 10
REPEATED = CONCURRENCY + int(RATE * 0.3)


def checks(complaints: list[str]) -> set[str]:
    return {complaint.partition(":")[0] for complaint in complaints}


async def _killed_under_load(world: World, mutant: str) -> History:
    world.mutants["run"] = mutant
    await asyncio.to_thread(world.start, rate=f"{RATE}/s", concurrency=CONCURRENCY)
    async with Load(world.proxy.url, connections=20) as load:
        trial = Trial(world, load)
        async with trial.crowd(rate=1.5 * RATE):  # so that much is fetched and waits
            for _ in range(2):
                await load.accepts(500)  # more than a crash may repeat
                await trial.kill("run", repeats=REPEATED)
            await load.accepts(100)
        return await trial.history(lost_after=3.0)


@pytest.mark.parametrize(
    "mutant", ["", "acknowledge-before-flush", "commit-before-completion", "commit-seldom"]
)
async def test_a_kill_shows_what_a_mutant_did_not_keep_or_keeps_too_late(
    sqlite_world: World, mutant: str
) -> None:
    history = await _killed_under_load(sqlite_world, mutant)
    complaints = history.complaints(rate=RATE)
    assert checks(complaints) >= set(MUTANTS[mutant].breaks) if mutant else complaints == []


@pytest.mark.parametrize("mutant", ["", "retry-not-counted"])
async def test_retries_that_take_no_token_exceed_the_rate(sqlite_world: World, mutant: str) -> None:
    sqlite_world.mutants["run"] = mutant
    retry = {"attempts": 3, "first": "300ms", "jitter": "none", "budget": "100%"}
    await asyncio.to_thread(sqlite_world.start, rate="100/s", retry=retry)
    sqlite_world.recorder.mode(first=[500])
    async with Load(sqlite_world.proxy.url, connections=20) as load:
        trial = Trial(sqlite_world, load)
        async with trial.crowd(rate=100):
            await load.accepts(200)
        history = await trial.history()
    complaints = history.complaints(rate=100)
    assert complaints == [] if not mutant else checks(complaints) == set(MUTANTS[mutant].breaks)


@pytest.mark.parametrize("mutant", ["", "no-key-order"])
async def test_a_key_whose_order_is_not_kept_is_noticed(sqlite_world: World, mutant: str) -> None:
    world, retry = sqlite_world, {"first": "100ms", "budget": "100%"}
    world.mutants["run"] = mutant
    await asyncio.to_thread(world.start, concurrency=CONCURRENCY, order="key", retry=retry)
    world.recorder.mode(first=[500])
    async with Load(world.proxy.url, connections=20) as load:
        trial = Trial(world, load, keys=40)
        async with trial.crowd(rate=100):
            await load.accepts(60)
        history = await trial.history()
    complaints = history.complaints(keyed=True)
    assert checks(complaints) >= set(MUTANTS[mutant].breaks) if mutant else complaints == []


@pytest.mark.kafka
@pytest.mark.parametrize("mutant", ["", "commit-goes-back"])
async def test_a_commit_that_goes_back_is_noticed(kafka_world: World, mutant: str) -> None:
    kafka_world.mutants["worker-0"] = mutant
    await asyncio.to_thread(kafka_world.start, rate=f"{RATE}/s", concurrency=CONCURRENCY)
    async with Load(kafka_world.proxy.url, connections=20) as load:
        trial = Trial(kafka_world, load)
        async with trial.crowd(rate=200):
            await load.accepts(300)
        history = await trial.history()
    complaints = history.complaints(rate=RATE)
    assert complaints == [] if not mutant else checks(complaints) == set(MUTANTS[mutant].breaks)
