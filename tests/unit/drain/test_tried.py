"""What attempts have used up outlives whoever made them, also where a request keeps its place between two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bufferproxy.log.marks import Marks, decode
from bufferproxy.records import Partition, Priority, State
from tests.unit.drain.conftest import RETRY

Make = Callable[..., Any]


def told(world: Any) -> Marks:
    """What the last commit tells beside its offset."""
    partition = Partition(world.names.fresh[Priority.NORMAL], 0)
    group = world.names.group
    return decode(world.log.marks(group, partition), world.log.committed(group, partition))


@pytest.mark.parametrize("order", ["key", "strict"])
async def test_who_takes_over_goes_on_counting_and_waits_as_long(drain_world: Make, order: str) -> None:
    world = drain_world(order)
    world.service.bad = {b"bad"}
    async with world.running():
        await world.accept(b"k", b"bad", b"behind")
        await world.clock.advance(0.5)
    (_, first), *others = world.service.sent
    assert not others
    for attempt in range(1, RETRY.attempts):
        async with world.running():
            await world.clock.advance(RETRY.first - 1.0)
            assert len(world.service.sent) == attempt, "not before its time"
        async with world.running():
            await world.clock.advance(1.0)
    sent = [body for body, _ in world.service.sent]
    assert sent == [b"bad"] * RETRY.attempts + [b"behind"]
    assert world.service.sent[1][1] - first >= RETRY.first
    assert world.ended(State.DEAD) == world.ended(State.DELIVERED) == 1


async def test_what_is_settled_is_told_no_more(drain_world: Make) -> None:
    world = drain_world("key")
    world.service.bad = {b"bad"}
    async with world.running():
        await world.accept(b"k", b"bad")
        await world.clock.advance(0.5)
        assert [one.attempts for one in told(world).tried] == [1]
        world.service.bad = set()
        await world.clock.advance(RETRY.first)
        assert told(world).tried == ()
