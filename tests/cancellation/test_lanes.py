"""Whoever is cancelled while it waits for an item takes nothing with it."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from bufferproxy.drain.keyed import KeyedLanes
from bufferproxy.drain.lanes import FreeLane, Item, Lanes
from bufferproxy.drain.window import Window
from bufferproxy.records import Partition, Position, Request

LANES = pytest.mark.parametrize("lanes", [FreeLane, KeyedLanes])


def item(name: str, key: bytes | None = None) -> Item:
    return Item(Request(name, Position(Partition("r", 0), 0), key, b"", b"", 0, 0), Window(0, 1))


async def started(lanes: Lanes, count: int) -> list[asyncio.Task[Item]]:
    takers = [asyncio.create_task(lanes.take()) for _ in range(count)]
    await asyncio.sleep(0)
    return takers


@LANES
async def test_cancelled_before_its_turn_it_leaves_its_place(lanes: type[Lanes]) -> None:
    lane = lanes()
    first, second = await started(lane, 2)
    first.cancel()
    await asyncio.wait([first])
    assert repr(lane).endswith("takers=1>")
    lane.offer(item("a"))
    assert (await second).request.id == "a"


@LANES
async def test_cancelled_in_the_moment_of_its_turn_the_next_one_has_it(lanes: type[Lanes]) -> None:
    lane = lanes()
    first, second = await started(lane, 2)
    lane.offer(item("a"))
    first.cancel()
    assert (await second).request.id == "a"
    assert first.cancelled()


@LANES
async def test_cancelled_and_offered_in_one_turn_of_the_loop_nobody_waits_for_ever(
    lanes: type[Lanes],
) -> None:
    lane = lanes()
    first, second = await started(lane, 2)
    first.cancel()
    lane.offer(item("a"))
    assert (await second).request.id == "a"


@LANES
async def test_many_that_give_up_leave_nothing_behind(lanes: type[Lanes]) -> None:
    lane = lanes()
    takers = await started(lane, 100)
    for taker in takers:
        taker.cancel()
    await asyncio.wait(takers)
    assert repr(lane).endswith("ready=0 takers=0>")


@LANES
@pytest.mark.parametrize("cancelled", list(itertools.product([False, True], repeat=4)))
async def test_whoever_is_cancelled_all_items_reach_those_who_stay(
    lanes: type[Lanes], cancelled: tuple[bool, ...]
) -> None:
    lane = lanes()
    takers = await started(lane, 4)
    staying = [taker for taker, gone in zip(takers, cancelled, strict=True) if not gone]
    for number, (taker, gone) in enumerate(zip(takers, cancelled, strict=True)):
        lane.offer(item(str(number), bytes([number])))
        if gone:
            taker.cancel()
    got = [(await taker).request.id for taker in staying]
    left = [(await lane.take()).request.id for _ in range(4 - len(staying))]
    assert sorted(got + left) == ["0", "1", "2", "3"]
