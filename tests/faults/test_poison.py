"""A request that kills whoever delivers it."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import TYPE_CHECKING

import pytest

from bufferproxy.drain.openings import CAREFUL, DEATHS
from bufferproxy.testing.crowd import Trial
from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from bufferproxy.testing.history import History
    from bufferproxy.testing.world import World

pytestmark = [pytest.mark.acceptance]

RATE = 300
CONCURRENCY = 10
REPEATED = CONCURRENCY + int(RATE * 0.3)


async def test_poison_kills_its_worker_and_nothing_is_lost_by_it(
    world: World, times: Callable[[int, int], int], record: Callable[[str, int, History], None]
) -> None:
    """Whoever starts it again is as a supervisor does. Once it can be delivered, it is, with all others."""
    rounds, deaths = times(1, 15), 2
    victim = "worker-0" if world.place.kafka else "run"
    world.mutants[victim] = _poisoned_by(0)
    await asyncio.to_thread(world.start, rate=f"{RATE}/s", concurrency=CONCURRENCY)
    async with Load(world.proxy.url, connections=20) as load:
        trial = Trial(world, load)
        async with trial.crowd(rate=0.5 * RATE):
            for number in range(rounds):
                await load.accepts(100)
                await load.one(Sent(b"/poison/%03d" % number, b"kills"))
                for left in reversed(range(deaths)):
                    async with trial.fault("poison", REPEATED):
                        assert await asyncio.to_thread(world.worker.await_end) == -9
                        world.worker.mutant = _poisoned_by(number if left else number + 1)
                        await asyncio.to_thread(world.worker.launch)
                await asyncio.to_thread(world.worker.await_ready)
            await load.accepts(50)
        history = await trial.history()
    record("poison", rounds * deaths, history)
    assert history.complaints(rate=RATE) == []


def _poisoned_by(number: int) -> str:
    return f"poison:/poison/{number:03d}"


async def test_poison_ends_dead_and_the_others_are_delivered(sqlite_world: World) -> None:
    """After some deaths without progress what is in the window goes one at a time, and the culprit ends."""
    world = sqlite_world
    world.mutants["run"] = "poison:/poison"
    await asyncio.to_thread(world.start, rate=f"{RATE}/s", concurrency=CONCURRENCY)
    async with Load(world.proxy.url, connections=1) as load:
        others = [(await load.one(Sent(b"/x/%d" % n))).id for n in range(5)]
        poison = (await load.one(Sent(b"/poison/1"))).id
    deaths = 0
    while True:
        await asyncio.to_thread(
            wait_until,
            lambda: not world.proxy.running or _state(world, poison) == "dead",
            "a death or an end",
        )
        if world.proxy.running:
            break
        deaths += 1
        assert deaths <= 8, "it goes on for ever"
        await asyncio.to_thread(world.proxy.launch)
    assert [_state(world, id_) for id_ in others] == ["delivered"] * 5
    assert world.sum("dead_letters_added_total", reason="crash") == 1


async def test_what_is_answered_is_no_poison_though_its_worker_ends_each_time(sqlite_world: World) -> None:
    """The worst moment, in every life: its end is in the log, and the commit is not."""
    world = sqlite_world
    world.mutants["run"] = mutant = "after-settle:1"
    await asyncio.to_thread(world.start, rate=f"{RATE}/s", concurrency=CONCURRENCY)
    async with Load(world.proxy.url, connections=1) as load:
        id_ = (await load.one(Sent(b"/x/1"))).id
        for left in reversed(range(CAREFUL + DEATHS + 2)):
            assert await asyncio.to_thread(world.proxy.await_end) == -9
            world.proxy.mutant = mutant if left else ""
            await asyncio.to_thread(world.proxy.launch)
        await asyncio.to_thread(world.proxy.await_ready)
        after = (await load.one(Sent(b"/x/2"))).id
    await asyncio.to_thread(wait_until, lambda: _state(world, after) == "delivered", "what comes after it")
    assert _state(world, id_) == "delivered"
    assert world.sum("dead_letters_added_total") == 0


def _state(world: World, id_: str) -> str | None:
    """None while nobody answers."""
    try:
        with urllib.request.urlopen(f"{world.proxy.url}/_bufferproxy/requests/{id_}", timeout=5) as answer:
            return str(json.load(answer)["state"])
    except OSError:
        return None
