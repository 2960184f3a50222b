"""The protocol over a log: two replicas share a service, hand it over, and obey one verdict."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bufferproxy.errors import AppendRefused, AppendUncertain
from bufferproxy.log.contract import Keep, Topic
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.policy.breaker import State
from bufferproxy.policy.congestion import Settings
from bufferproxy.policy.regime import Regime
from bufferproxy.policy.tally import Ending, Tally
from bufferproxy.rate.talk import Governed, Talk
from bufferproxy.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOPIC = "bufferproxy.control"


class Party:
    """As a worker with much to do, that meets what the test says."""

    name = "auth"

    def __init__(self) -> None:
        self.backlog = 100
        self.meets = Ending.SERVED
        self.tally = Tally()
        self.regime: Regime | None = None
        self.concurrency = 0

    def want(self) -> tuple[int, int, int]:
        return self.backlog, min(1, self.backlog), 0

    def counted(self) -> Tally:
        return self.tally

    def told(self) -> None:
        self.tally = Tally(self.tally.era)

    def obey(self, regime: Regime, concurrency: int, retry_rate: float) -> None:
        self.regime, self.concurrency = regime, concurrency
        self.tally.turn(regime.era)

    def send(self, count: int) -> None:
        for _ in range(count):
            self.tally.ended(self.meets, 0.01, self.tally.sent(again=False))


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.log = MemoryLog(Memory(), self.clock)

    async def open(self) -> None:
        await self.log.ensure([Topic(TOPIC, 1, Keep(seconds=3600))], create=True)

    @asynccontextmanager
    async def replica(self, name: str, settings: Settings) -> AsyncIterator[tuple[Talk, Party]]:
        talk, party = Talk(self.log, TOPIC, name, self.clock), Party()
        talk.join(Governed(party, settings, 1, talk.lease("auth")))
        running = asyncio.create_task(talk.run(await talk.open()))
        try:
            yield talk, party
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def sends(self, talks: list[Talk], seconds: float) -> list[int]:
        """How many each may send in that time, as greedy as it can be."""
        counts = [0] * len(talks)
        until = self.clock.now() + seconds
        while self.clock.now() < until:
            await self.clock.advance(0.002)
            for index, talk in enumerate(talks):
                while talk.lease("auth").take(self.clock.now()) == 0.0:
                    talk.lease("auth").sent()
                    counts[index] += 1
        return counts


@pytest.fixture
async def world() -> World:
    made = World()
    await made.open()
    return made


async def test_two_share_the_rate_and_never_have_more(world: World) -> None:
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(world.replica(n, Settings(500.0))) for n in "ab"]
        await world.sends([talk for talk, _ in replicas], 4.0)
        counts = await world.sends([talk for talk, _ in replicas], 4.0)
        assert all(count > 500 for count in counts)
        assert 0.9 * 2000 <= sum(counts) <= 2000 + 1
        assert sum(talk.replica.leader.leads for talk, _ in replicas) == 1
        assert all(party.concurrency > 0 for _, party in replicas)


async def test_who_stops_in_order_hands_over_at_once(world: World) -> None:
    async with world.replica("a", Settings(500.0)) as (staying, _):
        async with world.replica("b", Settings(500.0)) as (leaving, _):
            await world.sends([staying, leaving], 4.0)
            await leaving.stop()
            assert await world.sends([leaving], 0.5) == [0]
        await world.sends([staying], 2.0)
        (alone,) = await world.sends([staying], 2.0)
        assert alone >= 0.93 * 1000


@pytest.mark.parametrize("failure", [AppendRefused("full"), AppendUncertain("no answer")])
async def test_who_cannot_say_that_it_stops_stops_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch, failure: AppendRefused | AppendUncertain
) -> None:
    async with world.replica("a", Settings(500.0)) as (talk, _):
        await world.sends([talk], 4.0)
        monkeypatch.setattr(world.log, "submit", lambda _partition, _entry, done: done(failure))
        await talk.stop()
        assert await world.sends([talk], 5.0) == [0]


async def test_without_the_log_nothing_is_sent_once_the_leases_have_run_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.replica("a", Settings(500.0)) as (talk, _):
        assert (await world.sends([talk], 4.0))[0] > 0
        monkeypatch.setattr(world.log, "submit", lambda *_: None)
        await world.sends([talk], 2.3)
        assert await world.sends([talk], 5.0) == [0]
        monkeypatch.undo()
        assert (await world.sends([talk], 5.0))[0] > 500


async def test_what_one_meets_holds_for_both(world: World) -> None:
    """One replica meets failures; the breaker opens for the other as well."""
    async with (
        world.replica("a", Settings(500.0)) as (one, bad),
        world.replica("b", Settings(500.0)) as (
            other,
            good,
        ),
    ):
        await world.sends([one, other], 4.0)
        bad.meets = Ending.FAILED
        for _ in range(8):
            bad.send(20)
            await world.sends([one, other], 0.25)
        assert bad.regime is not None
        assert good.regime is not None
        assert (bad.regime.breaker, good.regime.breaker) == (State.OPEN, State.OPEN)
        assert (good.regime.rate, good.regime.rate_reason) == (0.0, "breaker")
        await world.sends([one, other], 2.5)
        assert await world.sends([one, other], 2.0) == [0, 0]


async def test_the_next_leader_goes_on_with_what_was_decided(world: World) -> None:
    async with world.replica("a", Settings(500.0)) as (first, bad):
        await world.sends([first], 4.0)
        async with world.replica("b", Settings(500.0)) as (second, party):
            await world.sends([first, second], 3.0)
            assert first.replica.leader.leads
            bad.meets = Ending.FAILED
            for _ in range(8):
                bad.send(20)
                await world.sends([first, second], 0.25)
            await first.stop()
            await world.sends([second], 6.0)
            assert second.replica.leader.leads
            assert party.regime is not None
            assert party.regime.breaker is State.OPEN
