"""No lease, no send; a lease counts from when its report was sent; and no change of it gains a token."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bufferproxy.policy.bucket import SLACK
from bufferproxy.rate.holder import EVERY, NOTHING, Holder, Lease, Want
from bufferproxy.rate.ledger import TTL
from bufferproxy.rate.records import Grant, Report, Share, Terms

BUSY = {"auth": Want(1000, 3, 0)}


def send(lease: Lease, now: float) -> float:
    """0.0, and sent; or the seconds until it may be."""
    wait = lease.take(now)
    if wait == 0.0:
        lease.sent()
    return wait


def reported(holder: Holder, now: float, wants: dict[str, Want] = BUSY) -> Report:
    report = holder.report(wants, now)
    assert report is not None
    return report


def grant(share: Share | None) -> Grant:
    return Grant(1, {"auth": 1}, {"auth": Terms(10.0, {} if share is None else {"w": share})})


def test_without_a_lease_nothing_is_sent() -> None:
    assert Holder("w", 0.0).lease("auth", 0.0).take(5.0) == math.inf


def test_a_lease_runs_from_when_its_report_was_sent_however_late_the_grant_comes() -> None:
    holder = Holder("w", 0.0)
    number = reported(holder, 100.0).number
    holder.read(7, grant(Share(10.0, 1, 5, number)), 101.5)
    lease = holder.lease("auth", 101.5)
    assert lease.until == 100.0 + TTL
    assert lease.take(101.99) == 0.0
    assert (lease.rate_at(101.99), lease.concurrency(101.99)) == (10.0, 5)
    assert lease.take(102.0) == math.inf
    assert (lease.rate_at(102.0), lease.concurrency(102.0)) == (0.0, 0)


def test_a_grant_that_comes_after_its_lease_ran_out_gives_nothing() -> None:
    holder = Holder("w", 0.0)
    number = reported(holder, 100.0).number
    holder.read(7, grant(Share(10.0, 1, 5, number)), 102.0)
    assert holder.lease("auth", 102.0).share == NOTHING


def test_it_begins_with_no_tokens_also_after_a_lease_that_ran_out() -> None:
    lease = Lease(0.0)
    lease.change(Share(10.0, 1, 5, 1), 2.0, 0.0)
    lease.change(Share(10.0, 1, 5, 2), 52.0, 50.0)
    assert lease.take(50.0) > 0.09


def test_what_is_taken_away_is_confirmed_at_once() -> None:
    holder = Holder("w", 0.0)
    number = reported(holder, 1.0).number
    holder.read(7, grant(Share(10.0, 1, 5, number)), 1.1)
    assert holder.report(BUSY, 1.11) is None
    holder.read(8, grant(Share(9.0, 1, 5, number)), 1.12)
    assert reported(holder, 1.12).seen == 8
    holder.read(9, grant(None), 1.13)
    assert reported(holder, 1.13).seen == 9
    assert holder.wake_at == pytest.approx(1.13 + EVERY)


def test_a_turn_ends_after_so_many_sends_and_what_was_granted_before_counts_no_more() -> None:
    holder = Holder("w", 0.0)
    number = reported(holder, 0.0).number
    share = Share(100.0, 1, 5, number, turn=2)
    holder.read(7, grant(share), 0.0)
    lease = holder.lease("auth", 0.0)
    assert [send(lease, at) for at in (0.1, 0.2, 0.3)] == [0.0, 0.0, math.inf]
    report = reported(holder, 0.3)
    assert report.asks["auth"].floor == report.number
    holder.read(8, grant(share), 0.31)
    assert lease.take(0.4) == math.inf
    holder.read(9, grant(share._replace(report=report.number)), 0.41)
    assert lease.holds(0.42)


def test_a_turn_ends_when_nothing_is_left_to_send() -> None:
    holder = Holder("w", 0.0)
    number = reported(holder, 0.0).number
    holder.read(7, grant(Share(100.0, 1, 5, number, turn=9)), 0.0)
    report = reported(holder, 0.1, {"auth": Want(0, 0, 1)})
    assert report.asks["auth"].floor == report.number
    assert not holder.lease("auth", 0.1).holds(0.1)


def test_a_token_given_back_uses_nothing_of_the_turn_up() -> None:
    lease, told = Lease(0.0), []
    lease.told = lambda: told.append(True)
    lease.change(Share(10.0, 1, 5, 1, turn=1), 2.0, 0.0)
    for _ in range(3):
        assert lease.take(1.0) == 0.0
        assert lease.take(1.0) == math.inf, "the turn is one send"
        lease.give_back()
    assert not lease.over
    assert not told
    assert send(lease, 1.0) == 0.0
    assert lease.over
    assert told


def test_a_token_whose_moment_has_passed_is_lost_and_uses_nothing_of_the_turn_up() -> None:
    lease = Lease(0.0)
    lease.change(Share(100.0, 2, 5, 1, turn=1), 100.0, 0.0)
    assert lease.take(1.0) == 0.0
    lease.lapse()
    assert lease.take(1.0) == 0.0
    lease.lapse()
    assert lease.take(1.0) > 0.0
    assert send(lease, 2.0) == 0.0
    assert lease.over
    assert not lease.holds(2.0)


def test_what_could_not_be_sent_leaves_the_turn_over() -> None:
    lease = Lease(0.0)
    lease.change(Share(10.0, 1, 5, 1, turn=1), 2.0, 0.0)
    assert send(lease, 1.0) == 0.0
    lease.unsent()
    assert lease.over
    assert lease.take(1.0) == math.inf


def test_after_its_last_word_nothing_is_sent() -> None:
    holder = Holder("w", 0.0)
    number = reported(holder, 0.0).number
    share = Share(100.0, 1, 5, number)
    holder.read(7, grant(share), 0.0)
    assert holder.release({"auth": Want(5, 1, 2)}, 0.5).in_flight == {"auth": 2}
    holder.read(8, grant(share), 0.6)
    assert holder.lease("auth", 0.7).take(0.7) == math.inf


CHANGES = st.lists(
    st.tuples(
        st.floats(0.0, 0.5),
        st.one_of(st.none(), st.tuples(st.floats(0.0, 500.0), st.integers(0, 5)), st.just("give up")),
    ),
    max_size=60,
)


@given(CHANGES)
@settings(max_examples=200, deadline=None)
def test_no_change_of_a_share_gains_a_token(
    changes: list[tuple[float, tuple[float, int] | str | None]],
) -> None:
    """Between any two moments it sends at most what its rates earned in between and what it could hold at
    the first; nothing else is needed for the shares of all workers to add up."""
    lease, now = Lease(0.0), 0.0
    earned, rate, until = 0.0, 0.0, 0.0
    moments: list[tuple[float, int, float]] = []  # earned up to here, sent up to here, what it may hold
    sent = 0
    for number, (wait, change) in enumerate(changes, 1):
        earned += rate * max(0.0, min(now + wait, until) - now)
        now += wait
        while send(lease, now) == 0.0:
            sent += 1
        if isinstance(change, tuple):
            rate, until = change[0], now + 1.0
            lease.change(Share(*change, 5, number), until, now)
        elif change is not None:
            rate = 0.0
            lease.give_up(number, now)
        share = lease.share if now < lease.until else NOTHING
        moments.append((earned, sent, share.tokens + SLACK * share.rate))
        for earned_before, sent_before, held in moments:
            assert sent - sent_before <= earned - earned_before + held + 1e-6
