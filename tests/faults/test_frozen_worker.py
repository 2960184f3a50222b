"""SIGSTOP of a worker for longer than its session: what it held goes to others, and it must notice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.crowd import Trial, share_between_two
from bufferproxy.testing.history import too_fast
from bufferproxy.testing.load import Load

if TYPE_CHECKING:
    from collections.abc import Callable

    from bufferproxy.testing.history import History
    from bufferproxy.testing.world import World

pytestmark = [pytest.mark.acceptance, pytest.mark.kafka]

RATE = 300
CONCURRENCY = 10
REPEATED = CONCURRENCY + int(RATE * 0.3)


@pytest.mark.parametrize("order", ["none", "key"])
async def test_a_worker_that_was_frozen_past_its_session_sends_nothing_that_is_not_its_own(
    short_session: World,
    order: str,
    times: Callable[[int, int], int],
    record: Callable[[str, int, History], None],
) -> None:
    world, faults = short_session, times(2, 50)
    await asyncio.to_thread(world.start, rate=f"{RATE}/s", concurrency=CONCURRENCY, order=order)
    everything = await share_between_two(world)
    async with Load(world.proxy.url, connections=20) as load:
        trial = Trial(world, load, keys=40 if order == "key" else 0)
        async with trial.crowd(rate=1.2 * RATE):
            for _ in range(faults):
                await load.accepts(300)
                await trial.freeze_past_session(everything, REPEATED)
        history = await trial.history(patience=120.0 + 5 * faults)  # more comes in than goes out
    record(f"SIGSTOP past the session, order {order}", faults, history)
    assert history.complaints(keyed=order == "key") == []
    assert too_fast(history, rate=RATE, burst=1) == []
