from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bufferproxy.observe.events import Event, LoopLagged
from bufferproxy.observe.lag import LoopLag

if TYPE_CHECKING:
    from tests.unit.observe.conftest import HandClock


async def test_it_tells_how_much_later_than_asked_it_woke_up(clock: HandClock) -> None:
    told: list[Event] = []
    running = asyncio.create_task(LoopLag(clock, told.append, interval=0.5).run())
    await clock.advance(0.5)
    await clock.advance(0.75)
    assert told == [LoopLagged(0.0), LoopLagged(0.25)]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
