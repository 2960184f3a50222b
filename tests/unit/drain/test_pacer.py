from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bufferproxy.drain.pacer import UNBOUND, Pacer
from bufferproxy.observe.events import Held, Rested
from bufferproxy.policy.bucket import TokenBucket
from bufferproxy.rate.holder import Lease
from bufferproxy.rate.records import Share
from bufferproxy.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bufferproxy.observe.events import Event


class World:
    """A pacer whose clock stands still, and what it let go: (who, when)."""

    def __init__(self, rate: float = 10.0, burst: int = 1, workers: asyncio.TaskGroup | None = None) -> None:
        self.clock = FakeClock(now=0.0)
        self.events: list[Event] = []
        self.bucket = TokenBucket(rate, burst, 0.0)
        self.pacer = Pacer("auth", self.bucket, self.clock, self.events.append)
        self.gone: list[tuple[str, float]] = []

    async def turn(self, name: str) -> None:
        await self.pacer.turn()
        self.gone.append((name, round(self.clock.now(), 2)))

    async def connect(self, name: str) -> None:
        await self.pacer.may_connect()
        self.gone.append((name, round(self.clock.now(), 2)))

    def limit(self, rate: float, burst: int) -> None:
        """As a governor does."""
        self.bucket.change(rate, burst, self.clock.now())
        self.pacer.obey(self.pacer.regime, self.pacer.concurrency)

    def pause(self, *, paused: bool) -> None:
        self.bucket.empty(self.clock.now())
        regime = UNBOUND._replace(rate=0.0, rate_reason="paused", left=math.inf) if paused else UNBOUND
        self.pacer.obey(regime, regime.concurrency)

    def names(self) -> str:
        gone, self.gone = self.gone, []
        return "".join(name for name, _ in gone)


@asynccontextmanager
async def waiting(*steps: object) -> AsyncIterator[None]:
    """`steps` as tasks, started in their order, and gone at the end."""
    tasks = [asyncio.ensure_future(step) for step in steps]
    await asyncio.sleep(0)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_requests_go_at_the_rate_and_in_the_order_they_came() -> None:
    world = World(rate=10.0)
    async with waiting(*(world.turn(name) for name in "abcd")):
        await world.clock.advance(0.45)
    assert [name for name, _ in world.gone] == list("abcd")
    assert [at for _, at in world.gone] == pytest.approx([0.1, 0.2, 0.31, 0.41], abs=0.011)


async def test_unlimited_nobody_waits() -> None:
    world = World(rate=math.inf)
    for name in "abc":
        await world.turn(name)
    assert world.clock.waiting == 0


async def test_paused_nobody_goes_and_resumed_it_begins_with_no_tokens() -> None:
    world = World(rate=10.0, burst=5)
    world.pause(paused=True)
    async with waiting(world.connect("c"), world.turn("a"), world.turn("b")):
        await world.clock.advance(100)
        assert world.names() == ""
        assert world.pacer.rate == 0.0
        assert world.pacer.resting == ("paused", math.inf, "")
        world.pause(paused=False)
        assert not world.pacer.paused
        await world.clock.advance(0.05)
        assert world.names() == "c"
        await world.clock.advance(0.2)
        assert world.names() == "ab"
    assert world.pacer.rate == 10.0


async def test_a_new_limit_holds_for_those_who_wait_already() -> None:
    world = World(rate=0.001)
    async with waiting(world.turn("a")):
        await world.clock.advance(1)
        world.limit(100.0, 1)
        await world.clock.advance(0.02)
        assert world.names() == "a"
    world.limit(100.0, 1)  # nothing changes
    assert world.pacer.rate == 100.0


async def test_a_token_given_back_goes_to_who_waits() -> None:
    world = World(rate=0.01)
    await world.clock.advance(103)
    await world.pacer.turn()
    async with waiting(world.turn("a")):
        world.pacer.give_back()
        await world.clock.advance(0)
        assert world.names() == "a"


async def test_while_the_service_rests_nobody_goes_and_then_one_probe() -> None:
    world = World(rate=math.inf)
    world.pacer.unreachable("refused")
    world.pacer.unreachable("refused")
    assert world.events == [Rested("auth", "connect", pytest.approx(0.075), "refused")]
    assert world.pacer.resting == ("connect", pytest.approx(0.075), "refused")
    async with waiting(world.connect("a"), world.connect("b"), world.connect("c"), world.turn("t")):
        await world.clock.advance(0.07)
        assert world.names() == ""
        await world.clock.advance(0.01)
        assert world.names() in ("at", "ta")
        await world.clock.advance(100)
        assert world.names() == ""
        world.pacer.reached()
        await world.clock.advance(0)
        assert world.names() == "bc"
    assert world.pacer.resting is None


async def test_a_failed_probe_makes_a_longer_rest_and_another_probe() -> None:
    world = World(rate=math.inf)
    world.pacer.unreachable("refused")
    async with waiting(world.connect("a"), world.connect("b")):
        await world.clock.advance(0.1)
        assert world.names() == "a"
        world.pacer.unreachable("refused")
        await world.clock.advance(0.14)
        assert world.names() == ""
        await world.clock.advance(0.02)
        assert world.names() == "b"


async def test_what_the_service_asks_for_is_told_when_it_is_longer() -> None:
    world = World(rate=math.inf)
    world.pacer.asked(5.0, "503")
    world.pacer.asked(2.0, "429")
    assert world.events == [Rested("auth", "retry_after", 5.0, "503")]
    async with waiting(world.connect("a"), world.turn("b")):
        await world.clock.advance(4.9)
        assert world.names() == ""
        await world.clock.advance(0.11)
        assert world.names() in ("ab", "ba")


async def test_it_accounts_for_what_held_somebody_back() -> None:
    world = World(rate=1.0)
    async with waiting(world.turn("a"), world.turn("b")):
        await world.clock.advance(0.5)
        assert world.pacer.held() == [Held("auth", "ceiling", 0.5)]
        world.pause(paused=True)
        await world.clock.advance(2)
        assert world.pacer.held() == [Held("auth", "paused", pytest.approx(2.0))]
    await world.clock.advance(10)
    assert world.pacer.held() == []


async def test_a_second_in_which_both_queues_were_held_is_one_second() -> None:
    world = World(rate=1.0)
    world.pacer.asked(60.0, "503")
    async with waiting(world.connect("a"), world.turn("b")):
        await world.clock.advance(3)
        assert world.pacer.held() == [Held("auth", "retry_after", 3.0)]


async def test_connections_are_made_ready_for_the_next_second_only() -> None:
    world = World(rate=2.0)
    async with waiting(*(world.connect(name) for name in "abcd")):
        await world.clock.advance(60)
        assert world.names() == "ab"
        world.pacer.leave()
        await world.clock.advance(0)
        assert world.names() == "c"
        world.limit(4.0, 1)
        await world.clock.advance(0)
        assert world.names() == "d"
    assert world.pacer.ceiling == 4.0


async def test_a_timer_that_rings_early_is_set_anew() -> None:
    world = World(rate=1.0)
    async with waiting(world.turn("a")):
        world.limit(0.5, 1)  # the wait got longer, the timer is still that of before
        await world.clock.advance(1.9)
        assert world.names() == ""
        await world.clock.advance(0.2)
        assert world.names() == "a"


async def test_timers_are_whole_milliseconds_for_loops_that_count_in_them() -> None:
    world = World(rate=700.0)
    async with waiting(world.turn("a")):
        at = world.clock.next_at
        assert at == pytest.approx(0.002)


async def test_a_share_that_has_run_out_is_shown_as_none() -> None:
    clock = FakeClock(now=0.0)
    lease = Lease(0.0)
    pacer = Pacer("auth", lease, clock, lambda _: None)
    lease.change(Share(10.0, 1, 5, 1), 2.0, 0.0)
    assert (pacer.ceiling, pacer.rate) == (10.0, 10.0)
    await clock.advance(2)
    assert (pacer.ceiling, pacer.rate) == (0.0, 0.0)


def test_it_shows_its_numbers() -> None:
    assert repr(World().pacer).startswith("<Pacer <TokenBucket 10/s")


async def test_no_more_are_let_near_than_may_be_in_flight() -> None:
    world = World(rate=math.inf)
    world.pacer.obey(UNBOUND._replace(concurrency_reason="adaptive"), 2)
    async with waiting(*(world.connect(name) for name in "abc")):
        assert world.names() == "ab"
        for _ in "ab":
            world.pacer.leave()
        await world.clock.advance(1)
        assert world.names() == ""
        assert world.pacer.crowded > 0
        world.pacer.landed()
        await world.clock.advance(0)
        assert world.names() == "c"
        assert world.pacer.held() == [Held("auth", "adaptive", pytest.approx(1.0))]


async def test_while_the_breaker_is_open_nobody_goes_and_it_says_why() -> None:
    world = World(rate=10.0, burst=5)
    await world.clock.advance(1)
    world.pacer.obey(UNBOUND._replace(rate=0.0, rate_reason="breaker", left=30.0), 0)
    assert world.pacer.resting == ("breaker", 30.0, "")
    async with waiting(world.connect("c"), world.turn("t")):
        await world.clock.advance(2)
        assert world.names() == ""
        assert world.pacer.held() == [Held("auth", "breaker", pytest.approx(2.0))]
        world.pacer.obey(UNBOUND, 9)
        await world.clock.advance(0)
        assert sorted(world.names()) == ["c", "t"]


async def test_a_token_is_lost_to_whoever_comes_for_it_late() -> None:
    """The process was frozen: what it had let go and what it has earned since would go in one moment."""
    world = World(rate=1.0, burst=2)
    async with waiting(*[world.turn(name) for name in "abcd"]):
        world.clock.shift(2.5)
        world.limit(1.0, 2)  # two of them are let go, and before they are up
        world.clock.shift(10.0)
        await world.clock.advance(0)
        assert len(world.names()) == 2
        await world.clock.advance(1.1)
        assert len(world.names()) == 1


async def test_who_awaits_something_with_a_token_waits_for_another_if_that_took_long() -> None:
    world = World(rate=1.0, burst=1)
    await world.clock.advance(2.0)
    assert world.pacer.turns_now()
    taken = world.clock.now()
    world.clock.shift(0.005)
    await world.pacer.still_turn(taken)
    world.clock.shift(0.1)
    again = asyncio.ensure_future(world.pacer.still_turn(taken))
    await world.clock.advance(0.5)
    assert not again.done()
    await world.clock.advance(0.6)
    assert again.done()


async def test_where_tokens_are_rare_nobody_connects_long_before_its_own() -> None:
    """Its connection would be too old by then, and others would have its turn."""
    world = World(rate=0.1)
    async with waiting(world.connect("c")):
        await world.clock.advance(7.9)
        assert world.names() == ""
        await world.clock.advance(0.5)
        assert world.names() == "c"
