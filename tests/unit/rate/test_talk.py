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
from bufferproxy.records import Entry, Partition
from bufferproxy.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bufferproxy.log.contract import Done

TOPIC = "bufferproxy.control"


class Party:
    """As a worker with much to do, that meets what the test says."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.backlog = 100
        self.in_flight = 0
        self.meets = Ending.SERVED
        self.tally = Tally()
        self.regime: Regime | None = None
        self.concurrency = 0

    def want(self) -> tuple[int, int, int]:
        return self.backlog, min(1, self.backlog), self.in_flight

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


class Dumb:
    """A log that takes nothing."""

    def __init__(self, failure: AppendRefused) -> None:
        self._failure = failure

    def submit(self, _partition: Partition, _entry: Entry, done: Done) -> None:
        done(self._failure)


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.log = MemoryLog(Memory(), self.clock)

    async def open(self) -> None:
        await self.log.ensure([Topic(TOPIC, 1, Keep(seconds=3600))], create=True)

    @asynccontextmanager
    async def replica(
        self, name: str, settings: Settings, service: str = "auth", *, start: float = 0.0
    ) -> AsyncIterator[tuple[Talk, Party]]:
        """`start`: seconds that its process takes before it reads what others say."""
        talk, party = Talk(self.log, TOPIC, name, self.clock), Party(service)
        talk.join(Governed(party, settings, 1, talk.lease(service)))
        await self.clock.advance(start)
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
        assert sum("auth" in talk.replica.leader.led for talk, _ in replicas) == 1
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


async def test_the_first_that_ever_starts_need_not_wait(world: World) -> None:
    async with world.replica("a", Settings(500.0)) as (talk, _):
        assert (await world.sends([talk], 0.5))[0] > 100


async def test_after_a_clean_stop_of_the_last_one_a_start_need_not_wait(world: World) -> None:
    async with world.replica("a", Settings(500.0)) as (first, _):
        async with world.replica("b", Settings(500.0)) as (second, _):
            await world.sends([first, second], 4.0)
            await first.stop()
            await world.sends([second], 3.0)
        await second.stop()
    async with world.replica("c", Settings(500.0)) as (third, _):
        assert (await world.sends([third], 0.5))[0] > 100


async def test_what_is_in_flight_at_a_stop_is_waited_for_unless_the_end_is_told(world: World) -> None:
    for ends, sends in ((False, False), (True, True)):
        async with world.replica(f"a{ends}", Settings(500.0)) as (stopping, party):
            await world.sends([stopping], 4.0)
            party.in_flight = 3
            await stopping.stop()
            await world.sends([stopping], 0.1)
            party.in_flight = 0
            if ends:
                await stopping.stop()
        async with world.replica(f"b{ends}", Settings(500.0)) as (starting, _):
            assert ((await world.sends([starting], 1.5))[0] > 0) is sends


async def test_a_start_after_a_kill_waits_until_no_share_can_last(world: World) -> None:
    async with world.replica("a", Settings(500.0)) as (killed, _):
        await world.sends([killed], 4.0)
    async with world.replica("b", Settings(500.0)) as (starting, _):
        assert await world.sends([starting], 2.0) == [0]
        assert (await world.sends([starting], 1.0))[0] > 100


async def test_a_start_while_somebody_else_sends_waits_for_its_leader(world: World) -> None:
    """Whoever stopped last had not heard of the other yet."""
    async with world.replica("a", Settings(500.0)) as (first, _):
        await world.sends([first], 4.0)
        async with world.replica("b", Settings(500.0)) as (second, _):
            await first.stop()
            async with world.replica("c", Settings(500.0)) as (third, _):
                counts = [sum(await world.sends([second, third], 0.1)) for _ in range(40)]
                assert max(counts) <= 500 * 0.1 + 2


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
            assert first.replica.leader.led
            bad.meets = Ending.FAILED
            for _ in range(8):
                bad.send(20)
                await world.sends([first, second], 0.25)
            await first.stop()
            await world.sends([second], 6.0)
            assert second.replica.leader.led
            assert party.regime is not None
            assert party.regime.breaker is State.OPEN


async def test_one_whose_start_takes_long_waits_for_a_leader_and_for_what_was_granted_before(
    world: World,
) -> None:
    async with world.replica("a", Settings(500.0)) as (first, _):
        await world.sends([first], 4.0)
        async with world.replica("b", Settings(500.0), start=10.0) as (late, _):
            assert late.replica.leader.ledger.whole_at > world.clock.now() + 2.0
            await world.sends([first, late], 1.0)
            assert first.replica.leader.led
            assert not late.replica.leader.led


async def test_each_leads_what_it_knows(world: World) -> None:
    async with (
        world.replica("a", Settings(100.0), "auth") as (auth, _),
        world.replica("b", Settings(100.0), "mail") as (mail, _),
    ):
        await world.sends([auth, mail], 4.0)
        assert (auth.replica.leader.led, mail.replica.leader.led) == ({"auth"}, {"mail"})
        assert auth.lease("auth").holds(world.clock.now())
        assert mail.lease("mail").holds(world.clock.now())
        assert (auth.trouble("auth"), mail.trouble("mail")) == ("", "")


@pytest.mark.parametrize(
    ("submitted", "cause"),
    [
        (None, "nothing is heard there"),
        (AppendRefused("the topic is away"), "the topic is away"),
    ],
)
async def test_without_a_leader_it_says_within_5_seconds_why_it_gets_no_share(
    world: World, monkeypatch: pytest.MonkeyPatch, submitted: AppendRefused | None, cause: str
) -> None:
    async with world.replica("a", Settings(500.0)) as (talk, _):
        await world.sends([talk], 3.0)
        assert talk.trouble("auth") == ""
        monkeypatch.setattr(world.log, "submit", lambda *rest: submitted and rest[-1](submitted))
        await world.sends([talk], 5.0)
        assert TOPIC in talk.trouble("auth")
        assert "nobody has shared out its rate for" in talk.trouble("auth")
        assert cause in talk.trouble("auth")
        monkeypatch.undo()
        await world.sends([talk], 3.0)
        assert talk.trouble("auth") == ""


async def test_one_that_hears_a_leader_and_cannot_be_heard_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        world.replica("a", Settings(500.0)) as (leader, _),
        world.replica("b", Settings(500.0), start=3.0) as (dumb, _),
    ):
        refused = AppendRefused("not allowed to write")
        monkeypatch.setattr(dumb, "_log", Dumb(refused))
        await world.sends([leader, dumb], 6.0)
        assert leader.trouble("auth") == ""
        assert "cannot ask for its share" in dumb.trouble("auth")
        assert "not allowed to write" in dumb.trouble("auth")


async def test_what_is_no_record_of_ours_stops_nobody(world: World) -> None:
    async with world.replica("a", Settings(500.0)) as (talk, _):
        await world.sends([talk], 3.0)
        sent = 0
        for _ in range(20):
            await world.log.append(Partition(TOPIC, 0), Entry(None, b"hello", ()))
            sent += (await world.sends([talk], 0.1))[0]
        assert sent >= 0.9 * 1000


async def test_what_nobody_understands_is_named_when_nobody_leads(world: World) -> None:
    async with world.replica("a", Settings(500.0)) as (talk, _):
        await world.sends([talk], 3.0)
        for _ in range(60):
            await world.log.append(Partition(TOPIC, 0), Entry(None, b'{"version":99,"claim":"w"}', ()))
            await world.sends([talk], 0.1)
        assert "not understood: version 99" in talk.trouble("auth")
