"""One of the machines that share a rate is suspended for an hour. The seed is in the name.

Each has a clock of its own. For the others six seconds stand for the hour: after that nothing changes any
more. Who wakes has to connect to the log again before it reads what was said meanwhile.
"""

from __future__ import annotations

from random import Random

import pytest

from bufferproxy.policy.adaptive import AdaptiveRule
from bufferproxy.policy.breaker import BreakerRule, State
from bufferproxy.policy.congestion import PROBE_RATE, Congestion, Settings
from bufferproxy.policy.ramp import START
from bufferproxy.policy.tally import Ending, Tally
from bufferproxy.rate.holder import Holder, Want
from bufferproxy.rate.ledger import TTL
from bufferproxy.rate.records import Grant, Said, Share, Terms
from bufferproxy.rate.replica import Replica
from bufferproxy.rate.shares import Ceiling
from bufferproxy.testing.promises import beyond_ceiling

HOUR = 3600.0
STANDS_FOR = 6.0
"""Seconds of the others."""
STEP = 0.002
RATE = 500.0
BUSY = {"auth": Want(1000, 2, 0)}
SEEDS = pytest.mark.parametrize("seed", range(10))


class Machine:
    """Reads all there is, says what is due and sends whatever it may, in any order."""

    def __init__(self, name: str, random: Random) -> None:
        self._random = random
        self._ahead = random.uniform(-1e6, 1e6)
        self.replica = Replica(name, self._ahead, random.random())
        self.replica.leader.govern("auth", Ceiling(RATE, 1, 100), {}, self._ahead)
        self.lease = self.replica.holder.lease("auth", self._ahead)
        self.wakes_at = self._hears_at = 0.0
        self._seen = 0

    def suspend(self, at: float, *, counted: bool) -> None:
        """`counted`: its clock goes on."""
        self.wakes_at = at + STANDS_FOR
        self._hears_at = self.wakes_at + self._random.uniform(0.0, 2.0)
        self._ahead += HOUR - STANDS_FOR if counted else -STANDS_FOR

    def live(self, at: float, log: list[Said], sent: list[float]) -> None:
        now = self._ahead + at
        for what in self._random.sample(("read", "speak", "send"), 3):
            if what == "read" and at >= self._hears_at:
                end = min(len(log), self._seen + 3)
                for offset in range(self._seen, end):
                    self.replica.read(offset, log[offset], now)
                self._seen = end
            elif what == "speak":
                log += self.replica.due(BUSY, now)
            elif what == "send":
                while self.lease.take(now) == 0.0:
                    self.lease.sent()
                    sent.append(at)


def sends(seed: int, *, counted: bool) -> tuple[list[float], float]:
    """When all three machines sent, one of which is suspended; and when it wakes."""
    random = Random(seed)
    machines = [Machine(name, random) for name in "abc"]
    log: list[Said] = []
    sent: list[float] = []
    falls_asleep = random.uniform(4.0, 6.0)
    sleeper, at = machines[0], 0.0
    while at < falls_asleep + STANDS_FOR + 5.0:
        at += STEP
        if at > falls_asleep and not sleeper.wakes_at:
            leads = [machine for machine in machines if machine.replica.leader.led]
            sleeper = leads[0] if seed % 2 else random.choice(machines)
            sleeper.suspend(at, counted=counted)
        for machine in random.sample(machines, 3):
            if at > machine.wakes_at:
                machine.live(at, log, sent)
    return sent, sleeper.wakes_at


@SEEDS
def test_no_lease_is_believed_after_an_hour_of_suspend(seed: int) -> None:
    sent, woke_at = sends(seed, counted=True)
    for window in (0.1, 1.0, 5.0):
        assert not beyond_ceiling(sent, rate=RATE, burst=1, window=window, jitter=0.0)
    assert sum(woke_at + 4.0 < at for at in sent) > 0.85 * RATE, "it takes part again, and nothing is lost"


@SEEDS
@pytest.mark.parametrize("slept", [0.0, HOUR])
def test_a_grant_that_aged_in_the_log_gives_nothing(seed: int, slept: float) -> None:
    random = Random(seed)
    now = random.uniform(-1e6, 1e6)
    holder = Holder("a", now)
    report = holder.report(BUSY, now)
    assert report is not None
    now += random.uniform(0.0, 0.9 * TTL) + slept
    share = Share(RATE, 1, 10, report.number, 0)
    holder.read(7, Grant(1, {"auth": 3}, {"auth": Terms(RATE, {"a": share}, {})}), now)
    assert holder.lease("auth", now).holds(now) is (slept == 0.0)


@pytest.mark.parametrize("seed", [0])
def test_with_a_clock_that_stands_still_the_ceiling_breaks(seed: int) -> None:
    """The check can fail: that is what CLOCK_MONOTONIC would do."""
    assert any(
        beyond_ceiling(sends(seed + more, counted=False)[0], rate=RATE, burst=1, window=1.0, jitter=0.0)
        for more in range(10)
    )


def failing(sends: int) -> Tally:
    tally = Tally()
    for _ in range(sends):
        tally.ended(Ending.FAILED, 0.01, tally.sent(again=False))
    return tally


@SEEDS
def test_a_breaker_that_was_open_asks_carefully_and_what_was_silent_begins_with_a_ramp(seed: int) -> None:
    random = Random(seed)
    now = random.uniform(0, 1e6)
    broken = Congestion(Settings(RATE, breaker=BreakerRule()), now)
    silent = Congestion(Settings(RATE), now)
    for _ in range(random.randint(4, 40)):
        broken.feed(failing(20), now, random.random())
        silent.feed(Tally(), now, random.random())
        now += 0.25
    assert broken.regime(now).breaker is State.OPEN
    now += HOUR
    assert (broken.regime(now).breaker, broken.regime(now).rate) == (State.HALF_OPEN, PROBE_RATE)
    silent.feed(Tally(), now, random.random())
    assert silent.regime(now).rate == pytest.approx(START * RATE)


@SEEDS
def test_the_limit_found_is_not_stuck_for_the_hour_that_was_slept_through(seed: int) -> None:
    """What was in flight comes to nothing, and took as long as its timeout."""
    random, timeout = Random(seed), 5.0
    now = random.uniform(0, 1e6)
    congestion = Congestion(
        Settings(RATE, adaptive=AdaptiveRule(min=2, max=200), breaker=BreakerRule(shadow=True), ramp=0.0), now
    )

    def seconds_of(count: int, ending: Ending, seconds: float) -> None:
        tally = Tally()
        for _ in range(count):
            tally.ended(ending, seconds, tally.sent(again=False))
        tally.in_flight, tally.waited = congestion.regime(now).concurrency, 1
        congestion.feed(tally, now, random.random())

    for _ in range(40):
        seconds_of(60, Ending.SERVED, 0.05 * random.uniform(0.9, 1.1))
        now += 0.25
    before = congestion.regime(now).concurrency
    now += HOUR
    seconds_of(before, Ending.TIMEOUT, timeout)
    assert congestion.regime(now).concurrency < before
    for _ in range(400):
        now += 0.25
        seconds_of(60, Ending.SERVED, 0.05 * random.uniform(0.9, 1.1))
    assert congestion.regime(now).concurrency >= before
