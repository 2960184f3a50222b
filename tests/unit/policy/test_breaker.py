from __future__ import annotations

import pytest

from bufferproxy.policy.breaker import (
    FORGIVEN,
    JITTER,
    LONGEST,
    PROBES,
    Breaker,
    BreakerRule,
    State,
    forgives,
)

RULE = BreakerRule(failures=0.5, window=10.0, minimum=20, open=30.0)


def opened(now: float = 100.0) -> Breaker:
    breaker = Breaker(RULE)
    breaker.observe(0, 20, 20, now, 0.0)
    assert breaker.state is State.OPEN
    return breaker


def probing(now: float = 130.0) -> Breaker:
    breaker = opened(now - 30.0)
    breaker.tick(now)
    assert breaker.state is State.HALF_OPEN
    return breaker


def test_the_share_of_failures_opens_it() -> None:
    breaker = Breaker(RULE)
    breaker.observe(0, 20, 9, 0.0, 0.0)
    assert breaker.state is State.CLOSED
    breaker.observe(0, 2, 2, 1.0, 0.0)
    assert breaker.state is State.OPEN


def test_fewer_attempts_than_the_minimum_do_not() -> None:
    breaker = Breaker(RULE)
    breaker.observe(0, 19, 19, 0.0, 0.0)
    assert breaker.state is State.CLOSED


def test_failures_older_than_the_window_do_not_count() -> None:
    breaker = Breaker(RULE)
    breaker.observe(0, 19, 19, 0.0, 0.0)
    breaker.observe(0, 5, 1, 10.5, 0.0)
    assert breaker.state is State.CLOSED


def test_it_stays_open_for_its_time_and_a_little_jitter_longer() -> None:
    breaker = Breaker(RULE)
    breaker.observe(0, 20, 20, 100.0, 0.5)
    assert breaker.left(100.0) == pytest.approx(30.0 * (1 + JITTER / 2))
    breaker.tick(100.0 + 30.0)
    assert breaker.state is State.OPEN
    breaker.tick(breaker.until)
    assert breaker.state is State.HALF_OPEN
    assert breaker.left(breaker.until) == 0.0


def test_probes_that_succeed_close_it() -> None:
    breaker = probing()
    breaker.observe(breaker.era, PROBES - 1, 0, 131.0, 0.0)
    assert breaker.state is State.HALF_OPEN
    breaker.observe(breaker.era, 1, 0, 500.0, 0.0)
    assert breaker.state is State.CLOSED


def test_probes_that_fail_open_it_again_for_twice_as_long_up_to_a_cap() -> None:
    breaker, now, times = opened(0.0), 0.0, [30.0]
    for _ in range(4):
        now = breaker.until
        breaker.tick(now)
        breaker.observe(breaker.era, 2, 2, now, 0.0)
        times.append(breaker.left(now))
    assert times == [30.0, 60.0, 120.0, LONGEST * 30.0, LONGEST * 30.0]


def test_one_bad_request_among_the_probes_does_not_keep_it_open() -> None:
    breaker = probing()
    breaker.observe(breaker.era, 1, 1, 131.0, 0.0)
    breaker.observe(breaker.era, PROBES - 1, 0, 132.0, 0.0)
    assert breaker.state is State.CLOSED


def test_closed_for_as_long_as_it_was_open_the_steps_are_forgotten() -> None:
    for closed_for, expected in ((31.0, 30.0), (29.0, 60.0)):
        breaker = probing(130.0)
        breaker.observe(breaker.era, PROBES, 0, 130.0, 0.0)
        breaker.observe(breaker.era, 20, 20, 130.0 + closed_for, 0.0)
        assert breaker.left(130.0 + closed_for) == expected


def test_what_was_sent_before_it_opened_decides_no_probe() -> None:
    breaker = probing()
    for era in (0, 1):
        breaker.observe(era, 50, 50, 131.0, 0.0)
        assert breaker.state is State.HALF_OPEN
    breaker.observe(0, PROBES, 0, 131.0, 0.0)
    assert breaker.state is State.HALF_OPEN


def test_once_closed_it_judges_anew() -> None:
    breaker = probing()
    breaker.observe(breaker.era, 10, 1, 131.0, 0.0)
    assert breaker.state is State.CLOSED
    breaker.observe(breaker.era, 19, 19, 131.0, 0.0)
    assert breaker.state is State.CLOSED


def test_a_new_leader_goes_on_where_the_former_one_stood() -> None:
    breaker = Breaker(RULE)
    breaker.resume(State.OPEN, 5, 12.0, 1000.0)
    assert breaker.left(1000.0) == 12.0
    breaker.tick(1012.0)
    assert (breaker.state, breaker.era) == (State.HALF_OPEN, 6)


def test_new_settings_leave_the_state_alone() -> None:
    breaker = opened(100.0)
    breaker.change(RULE._replace(window=20.0, open=1.0))
    assert breaker.left(100.0) == 30.0


def test_while_it_is_not_closed_failures_cost_no_attempt_but_not_for_ever() -> None:
    assert not forgives(State.CLOSED, sends=1, attempts=0)
    for state in (State.OPEN, State.HALF_OPEN):
        assert forgives(state, sends=1, attempts=0)
        assert forgives(state, sends=FORGIVEN + 2, attempts=2)
        assert not forgives(state, sends=FORGIVEN + 3, attempts=2)


def test_it_shows_its_numbers() -> None:
    assert repr(Breaker(RULE)) == "<Breaker closed era=0 rounds=0 <Sliding 0 of 0 in 10 s>>"
