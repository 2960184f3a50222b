from __future__ import annotations

import asyncio

import pytest

from bufferproxy.wakeup import Wakeup


async def test_a_waiter_goes_on_when_it_is_set_and_at_once_while_it_stays_so() -> None:
    wakeup = Wakeup()
    waiting = asyncio.ensure_future(wakeup.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    wakeup.set()
    await waiting
    await wakeup.wait()
    wakeup.clear()
    assert not wakeup.is_set()


async def test_set_and_cleared_before_the_waiter_runs_it_goes_on_all_the_same() -> None:
    wakeup = Wakeup()
    waiting = asyncio.ensure_future(wakeup.wait())
    await asyncio.sleep(0)
    wakeup.set()
    wakeup.clear()
    await waiting


async def test_who_was_cancelled_leaves_room_for_the_next_one() -> None:
    wakeup = Wakeup()
    waiting = asyncio.ensure_future(wakeup.wait())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError):
        await wakeup.wait()
    waiting.cancel()
    await asyncio.wait([waiting])
    waiting = asyncio.ensure_future(wakeup.wait())
    await asyncio.sleep(0)
    wakeup.set()
    await waiting
