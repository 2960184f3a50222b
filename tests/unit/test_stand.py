from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from bufferproxy import translate
from bufferproxy.accept.admission import CLEAR, Outlook
from bufferproxy.clock import Ticker
from bufferproxy.config.load import load
from bufferproxy.drain.pacer import UNBOUND
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.observe.events import Events
from bufferproxy.policy.breaker import State
from bufferproxy.results.dead_index import DeadIndex
from bufferproxy.results.dead_view import DeadView
from bufferproxy.stand import Stand, outlook
from bufferproxy.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


GAIN = 0.9 / 30


@asynccontextmanager
async def draining(folder: Path, clock: FakeClock) -> AsyncIterator[Stand]:
    """A service that this process serves alone."""
    file = folder / "f.yaml"
    file.write_text("services: {a: {to: http://127.0.0.1:9, rate: 50/s, burst: 4}}\n")
    settings = load(str(file), flags=None, environ={}).settings
    log = MemoryLog(Memory(), clock)
    await log.ensure(translate.topics(settings), create=True)
    dead = DeadView(log, cast("DeadIndex", None), {}, clock)
    stand = Stand("a", settings, log, clock, Events(), dead)
    ticker = Ticker(clock)
    ticker.every(Ticker.TICK, stand.look)
    tasks = [asyncio.create_task(await stand.start_draining(log)), asyncio.create_task(ticker.run())]
    await clock.advance(0)
    yield stand
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await stand.close()


async def test_alone_it_begins_with_the_whole_rate_and_no_tokens(tmp_path: Path) -> None:
    async with draining(tmp_path, FakeClock()) as stand:
        assert stand.pacer.ceiling == 50.0
        assert not stand.pacer.turns_now()


async def test_a_rest_is_known_to_those_who_accept(tmp_path: Path) -> None:
    clock = FakeClock()
    async with draining(tmp_path, clock) as stand:
        stand.pacer.unreachable("refused")
        await clock.advance(Ticker.TICK)
        assert stand.backlog.outlook is CLEAR
        stand.pacer.asked(40.0, "503")
        await clock.advance(Ticker.TICK)
        assert stand.backlog.outlook == Outlook(40.0 - Ticker.TICK, 1.0, GAIN)
        await clock.advance(40.0)
        assert stand.backlog.outlook.still == 0.0


@pytest.mark.parametrize(
    ("rest", "changes", "ramp", "expected"),
    [
        (0.0, {}, 30.0, CLEAR),
        (7.0, {}, 30.0, Outlook(7.0, 1.0, GAIN)),
        (7.0, {"rate": 0.0, "left": math.inf}, 30.0, Outlook(math.inf, 1.0, GAIN)),
        (7.0, {"rate": 0.0, "left": 90.0, "forgiving": State.OPEN}, 30.0, Outlook(90.0, 0.1, GAIN)),
        (99.0, {"rate": 0.0, "left": 90.0}, 30.0, Outlook(99.0, 1.0, GAIN)),
        (0.0, {"rate": 3.0, "forgiving": State.HALF_OPEN}, 30.0, Outlook(0.0, 0.1, GAIN)),
        (0.0, {"rate": 20.0, "ramp": 0.4}, 30.0, Outlook(0.0, 0.4, GAIN)),
        (0.0, {"rate": 3.0, "forgiving": State.HALF_OPEN}, 0.0, Outlook(0.0, 0.1, 0.0)),
    ],
)
def test_a_breaker_that_closes_is_followed_by_a_ramp(
    rest: float, changes: dict[str, Any], ramp: float, expected: Outlook
) -> None:
    assert outlook(rest, UNBOUND._replace(**changes), ramp) == expected
