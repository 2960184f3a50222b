from __future__ import annotations

import asyncio
from collections.abc import Collection

from bufferproxy.drain.lanes import Item
from bufferproxy.drain.repeats import AGAIN, Generation, Repeats
from bufferproxy.drain.window import Window
from bufferproxy.errors import LogUnavailable
from bufferproxy.records import Partition, Position, Request
from bufferproxy.testing.clock import FakeClock

HERE, THERE = Partition("p.a.requests", 0), Partition("p.a.requests", 1)


def copy(id_: str, generation: int = 1, *, at: Partition = HERE, due: bool = False) -> Item:
    request = Request(id_, Position(at, 0), None, b"", b"", 0, 0, generation=generation)
    return Item(request, Window(0, 1), due=due)


class World:
    def __init__(self, *settled: Generation) -> None:
        self.settled = set(settled)
        self.asked: list[list[Generation]] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.failures = 0
        self.clock = FakeClock()
        self.repeats = Repeats(self.ask, self.clock)

    async def ask(self, wanted: Collection[Generation]) -> Collection[Generation]:
        self.asked.append(sorted(wanted))
        await self.answers.wait()
        if self.failures:
            self.failures -= 1
            raise LogUnavailable("away")
        return self.settled.intersection(wanted)


async def test_only_a_record_that_comes_from_a_redrive_is_asked_about() -> None:
    world = World()
    assert not await world.repeats.has(copy("a", 0))
    assert not await world.repeats.has(copy("a", 1, due=True)), "who made this copy has settled the other"
    assert world.asked == []


async def test_what_was_settled_is_a_repeat_and_a_later_redrive_is_none() -> None:
    world = World(("a", 1))
    assert await world.repeats.has(copy("a", 1))
    assert not await world.repeats.has(copy("a", 2))
    assert not await world.repeats.has(copy("b", 1))


async def test_of_two_copies_one_goes_on_until_it_is_settled() -> None:
    world = World()
    first, second = copy("a"), copy("a")
    assert not await world.repeats.has(first)
    assert await world.repeats.has(second)
    world.repeats.ended(second)
    assert not await world.repeats.has(first), "put back, it is no repeat of itself"
    assert world.asked == [[("a", 1)]]
    world.repeats.ended(first)
    assert not await world.repeats.has(copy("a"))


async def test_what_comes_again_after_a_hand_over_is_no_repeat() -> None:
    world = World()
    assert not await world.repeats.has(copy("a"))
    assert not await world.repeats.has(copy("b", at=THERE))
    world.repeats.discard([HERE])
    assert not await world.repeats.has(copy("a"))
    assert await world.repeats.has(copy("b", at=THERE))


async def test_who_comes_while_a_question_is_under_way_is_answered_by_the_next_one() -> None:
    world = World(("c", 1))
    world.answers.clear()
    asking = [asyncio.create_task(world.repeats.has(copy(id_))) for id_ in "abcd"]
    await world.clock.advance(0.0)
    asking[3].cancel()
    world.answers.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert found[:3] == [False, False, True]
    assert isinstance(found[3], asyncio.CancelledError)
    assert world.asked[0] == [("a", 1)]
    assert len(world.asked) == 2


async def test_a_log_that_is_away_is_asked_again() -> None:
    world = World(("a", 1))
    world.failures = 2
    asking = asyncio.create_task(world.repeats.has(copy("a")))
    await world.clock.advance(AGAIN)
    await world.clock.advance(AGAIN)
    assert await asking
    assert len(world.asked) == 3
