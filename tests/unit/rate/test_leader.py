"""A leader grants what its ledger leaves free, says that it lives, and falls silent when it hears nothing."""

from __future__ import annotations

import math

from bufferproxy.rate.fence import SILENCE
from bufferproxy.rate.holder import Want
from bufferproxy.rate.leader import DEAF, REST, TICK
from bufferproxy.rate.ledger import ECHO, WRITE_OFF
from bufferproxy.rate.records import Ask, Claim, Grant, Report, Said, Share, Terms
from bufferproxy.rate.replica import SPREAD, Replica
from bufferproxy.rate.shares import Ceiling

BUSY = {"auth": Want(1000, 3, 0)}


class Alone:
    """One replica, and a log that it reads at once."""

    def __init__(self, rate: float = 100.0, burst: int = 1, concurrency: int = 20) -> None:
        self.now = 50.0
        self.replica = Replica("w", self.now, 0.0)
        self.replica.leader.govern("auth", Ceiling(rate, burst, concurrency), {}, self.now)
        self.log: list[Said] = []

    def say(self, *said: Said) -> None:
        for one in said:
            self.log.append(one)
            self.replica.read(len(self.log) - 1, one, self.now)

    def run(self, seconds: float, wants: dict[str, Want] = BUSY) -> list[Said]:
        before, end = len(self.log), self.now + seconds
        while self.now < end:  # what is read may ask for more
            while said := self.replica.due(wants, self.now):
                self.say(*said)
            self.now = min(end, max(self.now + 0.001, self.replica.wake_at))
        return self.log[before:]

    @property
    def share(self) -> Share:
        return self.replica.holder.lease("auth", self.now).share


def test_it_claims_when_no_leader_is_heard_and_grants_when_nothing_of_before_can_count() -> None:
    alone = Alone()
    assert not any(isinstance(said, Claim) for said in alone.run(SILENCE))
    alone.run(WRITE_OFF - SILENCE)
    assert alone.replica.leader.led == {"auth"}
    assert alone.share.rate == 0.0
    alone.run(0.3)
    assert alone.share[:3] == (100.0, 1, 20)


def test_one_that_has_read_for_long_takes_over_as_soon_as_tokens_of_before_are_past() -> None:
    alone = Alone()
    alone.say(Claim("other", ("auth",)))
    for _ in range(20):
        alone.now += 0.2
        alone.say(Grant(1, {"auth": 0}, {}), *alone.replica.due(BUSY, alone.now))
    heard_at = alone.now
    alone.run(SILENCE + ECHO + 0.05)
    assert alone.share.rate == 100.0
    assert alone.now < heard_at + SILENCE + SPREAD + ECHO


def test_who_has_nothing_to_lead_says_that_it_lives() -> None:
    alone = Alone()
    alone.run(3.0, {})
    grants = [said for said in alone.run(2.0, {}) if isinstance(said, Grant)]
    assert len(grants) == 2.0 / REST
    assert not any(said.services for said in grants)


def test_who_has_a_share_is_granted_it_anew_at_every_tick() -> None:
    alone = Alone()
    alone.run(3.0)
    grants = [said for said in alone.run(2.0) if isinstance(said, Grant)]
    assert len(grants) >= 2.0 / TICK
    assert all(said.services["auth"].shares for said in grants)


def test_a_service_at_rest_beside_a_busy_one_is_named_once_a_second() -> None:
    alone = Alone()
    alone.replica.leader.govern("mail", Ceiling(50.0, 1, 20), {"ramp": 1.0}, alone.now)
    alone.run(3.0)
    grants = [said for said in alone.run(4.0) if isinstance(said, Grant)]
    assert sum("mail" in said.services for said in grants) == 4.0 / REST
    assert all(said.epochs.keys() == {"auth", "mail"} for said in grants if len(said.services) == 2)


def test_what_changes_at_a_service_at_rest_is_said_at_once() -> None:
    alone = Alone()
    alone.run(3.1, {})
    alone.replica.leader.govern("auth", Ceiling(50.0, 1, 20), {"paused": True}, alone.now)
    (said,) = alone.run(0.05, {})
    assert isinstance(said, Grant)
    assert said.services["auth"].regime == {"paused": True}


def test_one_that_reads_nothing_any_more_falls_silent_so_that_another_claims() -> None:
    alone = Alone()
    alone.run(5.0)
    alone.now += DEAF + 0.01
    assert not any(isinstance(said, Grant) for said in alone.replica.due(BUSY, alone.now))
    assert alone.replica.wake_at > alone.now


def test_a_rate_of_0_leaves_no_share_and_the_regime_is_told() -> None:
    alone = Alone()
    alone.run(5.0)
    alone.replica.leader.govern("auth", Ceiling(0.0, 1, 20), {"paused": True}, alone.now)
    alone.run(0.1)
    lease = alone.replica.holder.lease("auth", alone.now)
    assert lease.take(alone.now) == math.inf
    assert lease.regime == {"paused": True}


def test_an_unlimited_rate_is_leased_for_its_concurrency() -> None:
    alone = Alone(math.inf, concurrency=7)
    alone.run(5.0)
    lease = alone.replica.holder.lease("auth", alone.now)
    assert lease.concurrency(alone.now) == 7
    assert [lease.take(alone.now) for _ in range(100)] == [0.0] * 100


def test_less_than_one_a_second_is_earned_over_many_leases() -> None:
    alone = Alone(0.2)
    alone.run(3.0)
    sends = 0
    for _ in range(200):
        alone.run(0.1)
        sends += alone.replica.holder.lease("auth", alone.now).take(alone.now) == 0.0
    assert sends in (3, 4)


def test_a_second_worker_gets_its_part_when_the_first_has_given_it_up() -> None:
    alone = Alone(500.0, burst=2)
    alone.run(5.0)
    alone.say(Report("v", 1, -1, {"auth": Ask(1000, 3, 0)}))
    (first,) = [said for said in alone.replica.due(BUSY, alone.now) if isinstance(said, Grant)]
    assert first.services["auth"].shares.keys() == {"w"}
    alone.say(first)
    said = alone.run(0.01)
    last = [one for one in said if isinstance(one, Grant)][-1]
    assert {name: share.rate for name, share in last.services["auth"].shares.items()} == {
        "w": 250.0,
        "v": 250.0,
    }


def test_it_leads_what_it_knows_and_nobody_else_leads() -> None:
    """Of two services one has a leader: it claims the other, and says nothing of what it does not lead."""
    alone = Alone()
    alone.replica.leader.govern("mail", Ceiling(50.0, 1, 20), {}, alone.now)
    alone.say(Claim("other", ("mail", "unknown")))
    grants: list[Grant] = []
    for number in range(40):
        alone.say(Grant(number, {"mail": 0, "unknown": 0}, {}))
        grants += [said for said in alone.run(0.1) if isinstance(said, Grant)]
    assert alone.replica.leader.led == {"auth"}
    assert all(grant.epochs.keys() == {"auth"} for grant in grants)
    assert [said.services for said in alone.log if isinstance(said, Claim)][1:] == [("auth",)]


def test_tokens_that_are_given_up_while_a_fresh_leader_waits_count_on_for_a_moment() -> None:
    alone = Alone(500.0)
    alone.say(*(Report(name, 1, -1, {"auth": Ask(1000, 3, 0)}) for name in "ab"))
    alone.say(Claim("other", ("auth",)))
    share = Share(240.0, 1, 5, 1)
    alone.say(Grant(1, {"auth": 2}, {"auth": Terms(500.0, {"a": share, "b": share})}))
    alone.now += WRITE_OFF - 0.2  # what was granted before it began to read is past when it may grant
    alone.say(*(Report(name, 2, 3, {"auth": Ask(1000, 3, 0)}) for name in "ab"), Claim("w", ("auth",)))
    alone.now += 0.19
    alone.say(Report("b", 3, 3, {"auth": Ask(0, 0, 0, floor=3)}))
    alone.now += 0.02
    (first,) = [said for said in alone.replica.due({}, alone.now) if isinstance(said, Grant)]
    assert first.services["auth"].shares["a"].rate <= 490.0
