"""What brokers are asked: each by itself, for so long, and a slow one's answer is not thrown away."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from bufferproxy.clock import SystemClock
from bufferproxy.log.kafka.offsets import Offsets
from bufferproxy.records import Partition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from bufferproxy.log.kafka.topics import Topics

HERE, THERE = Partition("a", 0), Partition("b", 0)


class Brokers:
    """Of two, the second answers when it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.first_asked = threading.Event()
        self.end = 10
        self.asked = 0

    def leaders(self, topics: Collection[str]) -> Mapping[Partition, int]:
        return {HERE: 1, THERE: 2}

    def offsets(self, partitions: Collection[Partition], _: Any) -> tuple[Mapping[Partition, int], tuple[()]]:
        found = dict.fromkeys(partitions, self.end)
        if HERE in found:
            self.first_asked.set()
        if THERE in found:
            self.asked += 1
            self.let.wait(10)
        return found, ()


@pytest.fixture
def brokers() -> Iterator[Brokers]:
    brokers = Brokers()
    yield brokers
    brokers.let.set()


@pytest.fixture
async def offsets(brokers: Brokers) -> Offsets:
    return Offsets(cast("Topics", brokers), SystemClock())


async def test_a_slow_broker_costs_its_own_answer_and_is_not_asked_twice(
    brokers: Brokers, offsets: Offsets
) -> None:
    for _ in range(3):
        asked = await offsets.ends((HERE, THERE), seconds=0.05)
        assert asked.found == {HERE: 10}
        assert ["broker 2 did not answer" in failure.text for failure in asked.failures] == [True]
    assert brokers.asked == 1
    offsets.close()


async def test_its_late_answer_is_given_to_whoever_takes_one(brokers: Brokers, offsets: Offsets) -> None:
    await offsets.ends((THERE,), seconds=0.05)
    brokers.end = 20
    asking = asyncio.ensure_future(offsets.ends((THERE, HERE), late=True))
    await asyncio.to_thread(brokers.first_asked.wait, 10)
    brokers.let.set()
    asked = await asking
    assert asked.found == {THERE: 10, HERE: 20}
    assert asked.late
    assert not asked.failures
    offsets.close()


async def test_its_late_answer_is_given_to_nobody_who_needs_to_be_certain(
    brokers: Brokers, offsets: Offsets
) -> None:
    await offsets.ends((THERE,), seconds=0.05)
    brokers.end = 20
    assert not (await offsets.ends((THERE,), seconds=0.05)).found
    brokers.let.set()
    await offsets.ends((THERE,), late=True)
    asked = await offsets.ends((THERE,))
    assert (asked.found, asked.late) == ({THERE: 20}, False)
    offsets.close()
