from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bufferproxy.drain.keyed import KeyedLanes
from bufferproxy.drain.lanes import FreeLane, Item, Lanes
from bufferproxy.records import Partition

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., Item]


def names(*items: Item) -> str:
    return "".join(item.request.id for item in items)


async def take(lanes: Lanes, count: int) -> list[Item]:
    return [await lanes.take() for _ in range(count)]


def idle(lanes: Lanes) -> bool:
    """Nothing can be taken now. Ends the loop's turn of nobody."""
    return lanes._next() is None


# --- order: none


async def test_the_free_lane_gives_out_what_came_first_first(item: Make) -> None:
    lane = FreeLane()
    for name in "abc":
        lane.offer(item(name))
    assert names(*await take(lane, 3)) == "abc"


async def test_what_came_due_is_taken_in_turn_with_what_is_fresh(item: Make) -> None:
    lane = FreeLane()
    for name in "abc":
        lane.offer(item(name))
    for name in "xyz":
        lane.offer(item(name, due=True))
    assert names(*await take(lane, 6)) == "xaybzc"


async def test_without_fresh_ones_all_that_came_due_is_taken(item: Make) -> None:
    lane = FreeLane()
    for name in "xyz":
        lane.offer(item(name, due=True))
    assert names(*await take(lane, 3)) == "xyz"


@pytest.mark.parametrize("due", [False, True])
async def test_what_is_put_back_is_next(item: Make, due: bool) -> None:
    lane = FreeLane()
    for name in "ab":
        lane.offer(item(name, due=due))
    first = await lane.take()
    lane.put_back(first)
    assert names(*await take(lane, 2)) == "ab"


async def test_the_free_lane_forgets_what_lies_in_lost_partitions(item: Make) -> None:
    lane = FreeLane()
    lane.offer(item("a", partition=0))
    lane.offer(item("b", partition=1))
    lane.offer(item("x", partition=0, due=True))
    lane.ended(item("c"))
    lane.discard([Partition("bufferproxy.a.requests", 0)])
    assert len(lane) == 1
    assert (await lane.take()).request.id == "b"


async def test_takers_wait_and_are_served_in_the_order_they_came(item: Make) -> None:
    lane = FreeLane()
    takers = [asyncio.create_task(lane.take()) for _ in range(3)]
    await asyncio.sleep(0)
    assert repr(lane) == "<FreeLane ready=0 takers=3>"
    for name in "abc":
        lane.offer(item(name))
    assert names(*await asyncio.gather(*takers)) == "abc"


async def test_what_is_put_back_wakes_who_waits(item: Make) -> None:
    for lane in (FreeLane(), KeyedLanes(), KeyedLanes(single=True)):
        lane.offer(item("a", b"k"))
        taken = await lane.take()
        waiting = asyncio.create_task(lane.take())
        await asyncio.sleep(0)
        lane.put_back(taken)
        assert await waiting is taken


# --- order: key and strict


async def test_the_next_of_a_key_comes_only_when_the_one_before_has_ended(item: Make) -> None:
    lanes = KeyedLanes()
    for name in "abc":
        lanes.offer(item(name, b"k"))
    lanes.offer(item("x", b"other"))
    first, other = await take(lanes, 2)
    assert names(first, other) == "ax"
    assert idle(lanes)
    lanes.ended(first)
    second = await lanes.take()
    assert names(second) == "b"
    assert idle(lanes)


async def test_the_end_of_one_wakes_who_waits_for_its_follower(item: Make) -> None:
    lanes = KeyedLanes()
    lanes.offer(item("a", b"k"))
    lanes.offer(item("b", b"k"))
    first = await lanes.take()
    waiting = asyncio.create_task(lanes.take())
    await asyncio.sleep(0)
    lanes.ended(first)
    assert names(await waiting) == "b"


async def test_what_is_put_back_goes_before_its_followers(item: Make) -> None:
    lanes = KeyedLanes()
    for name in "ab":
        lanes.offer(item(name, b"k"))
    first = await lanes.take()
    lanes.put_back(first)
    assert await lanes.take() is first
    assert idle(lanes)


async def test_what_is_put_back_goes_before_other_keys_that_wait(item: Make) -> None:
    lanes = KeyedLanes()
    lanes.offer(item("a", b"k"))
    lanes.offer(item("x", b"l"))
    lanes.put_back(await lanes.take())
    assert names(*await take(lanes, 2)) == "ax"


async def test_requests_without_a_key_wait_for_nobody(item: Make) -> None:
    lanes = KeyedLanes()
    for name in "abc":
        lanes.offer(item(name))
    taken = await take(lanes, 3)
    assert names(*taken) == "abc"
    lanes.ended(taken[0])
    lanes.put_back(taken[1])
    assert names(await lanes.take()) == "b"


async def test_strict_is_one_lane_for_all(item: Make) -> None:
    lanes = KeyedLanes(single=True)
    lanes.offer(item("a", b"k"))
    lanes.offer(item("b"))
    first = await lanes.take()
    assert idle(lanes)
    lanes.ended(first)
    assert names(await lanes.take()) == "b"


async def test_a_key_that_has_ended_begins_anew(item: Make) -> None:
    lanes = KeyedLanes()
    lanes.offer(item("a", b"k"))
    lanes.ended(await lanes.take())
    lanes.offer(item("b", b"k"))
    assert names(await lanes.take()) == "b"
    assert len(lanes) == 0


async def test_lost_partitions_take_their_requests_along_and_leave_the_others(item: Make) -> None:
    lanes = KeyedLanes()
    lanes.offer(item("a", b"k", partition=0))
    lanes.offer(item("b", b"k", partition=0))
    lanes.offer(item("x", b"l", partition=1))
    lanes.offer(item("y", b"l", partition=1))
    assert len(lanes) == 4
    lanes.discard([Partition("bufferproxy.a.requests", 0)])
    assert len(lanes) == 2
    first = await lanes.take()
    lanes.ended(first)
    assert names(first, await lanes.take()) == "xy"


async def test_a_key_whose_request_was_in_flight_when_its_partition_left_is_free_when_it_returns(
    item: Make,
) -> None:
    lanes = KeyedLanes()
    lanes.offer(item("a", b"k"))
    in_flight = await lanes.take()
    lanes.discard([in_flight.partition])
    lanes.offer(item("a", b"k"))
    again = await lanes.take()
    assert again is not in_flight
    lanes.offer(item("b", b"k"))
    # What is told of the old one now lets nobody past the new one.
    lanes.ended(in_flight)
    lanes.put_back(in_flight)
    assert idle(lanes)
    lanes.ended(again)
    assert names(await lanes.take()) == "b"


async def test_followers_from_another_partition_go_on_when_their_head_is_lost(item: Make) -> None:
    lanes = KeyedLanes(single=True)
    lanes.offer(item("a", partition=0))
    lanes.offer(item("b", partition=1))
    lanes.offer(item("c", partition=0))
    lanes.offer(item("d", partition=1))
    waiting = None
    await lanes.take()
    waiting = asyncio.create_task(lanes.take())
    await asyncio.sleep(0)
    lanes.discard([Partition("bufferproxy.a.requests", 0)])
    second = await waiting
    lanes.ended(second)
    assert names(second, await lanes.take()) == "bd"


def test_an_item_shows_where_it_lies(item: Make) -> None:
    assert repr(item("a", due=True)).endswith("offset=0) due>")
