"""Commits are gated by leases, never go back, and go one request at a time for all services."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from bufferproxy.errors import LogUnavailable
from bufferproxy.log.contract import Lease
from bufferproxy.log.kafka.commits import Commits
from bufferproxy.log.kafka.engine import Committed, Failure, Trouble
from bufferproxy.records import Partition

A, B = Partition("a.requests", 0), Partition("b.requests", 0)


class World:
    """Requests are answered when the test says so."""

    def __init__(self) -> None:
        self.commits = Commits(self._send)
        self.commits.begin({A: Lease(1, 10), B: Lease(2, 20)})
        self.sent: list[Mapping[Partition, tuple[int, str]]] = []
        self._waiting: asyncio.Queue[Committed] = asyncio.Queue()

    def _send(self, commits: Mapping[Partition, tuple[int, str]], done: Committed) -> None:
        self.sent.append(dict(commits))
        self._waiting.put_nowait(done)

    def begin(self, partition: Partition, epoch: int, offset: int) -> asyncio.Task[object]:
        return asyncio.ensure_future(self.commits.commit({partition: (epoch, offset)}, {}))

    async def answer(self, failure: Failure | None = None) -> None:
        (await self._waiting.get())(failure)


async def test_what_is_wanted_while_a_request_is_under_way_goes_with_the_next_one() -> None:
    world = World()
    first = world.begin(A, 1, 11)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [world.begin(A, 1, 12), world.begin(B, 2, 21)]
    await world.answer()
    await world.answer()
    assert [await each for each in (first, *others)] == [set(), set(), set()]
    assert world.sent == [{A: (11, "")}, {A: (12, ""), B: (21, "")}]
    assert world.commits.done() == {A: 12, B: 21}


async def test_a_commit_under_another_epoch_is_refused_and_not_sent() -> None:
    world = World()
    assert await world.begin(A, 7, 11) == {A}
    assert world.sent == []


async def test_a_lower_offset_changes_nothing() -> None:
    world = World()
    first = world.begin(A, 1, 15)
    await world.answer()
    await first
    assert await world.begin(A, 1, 12) == set()
    assert world.commits.done()[A] == 15
    assert len(world.sent) == 1


async def test_a_rebalance_is_waited_for_and_the_gate_is_passed_again() -> None:
    world = World()
    committing = world.begin(A, 1, 11)
    await asyncio.sleep(0)
    world.begin(B, 2, 21)
    await world.answer(Failure(Trouble.REBALANCING, "later"))
    world.commits.forget([A])
    await world.answer()
    assert await committing == {A}, "it was given away meanwhile"
    assert world.sent[-1] == {B: (21, "")}


async def test_who_is_no_member_any_more_has_lost_what_it_wanted_to_commit() -> None:
    world = World()
    committing = world.begin(A, 1, 11)
    await world.answer(Failure(Trouble.NOT_A_MEMBER, "gone"))
    assert await committing == {A}


async def test_a_commit_that_is_denied_is_said() -> None:
    world = World()
    committing = world.begin(A, 1, 11)
    await world.answer(Failure(Trouble.DENIED, "not authorized"))
    with pytest.raises(LogUnavailable, match="not authorized"):
        await committing
