from __future__ import annotations

import math

import pytest

from bufferproxy.policy.bucket import SLACK, WINDOW, TokenBucket


def test_it_begins_empty_and_says_how_long_to_wait() -> None:
    bucket = TokenBucket(98.0, 1, now=10.0)
    wait = bucket.take(10.0)
    assert wait == pytest.approx(1 / (98.0 * 0.98))
    assert bucket.take(10.0 + wait + 1e-9) == 0.0
    assert bucket.take(10.0 + wait + 1e-9) > 0.0


def test_a_late_wake_up_of_two_milliseconds_loses_nothing() -> None:
    bucket, now, taken = TokenBucket(100.0, 1, now=0.0), 0.0, 0
    while now < 10.0:
        wait = bucket.take(now)
        taken += wait == 0.0
        now += wait + 0.002 if wait else 0.0
    assert taken >= 0.97 * 100.0 * 10.0


def test_after_a_long_rest_the_burst_is_there_and_no_more() -> None:
    bucket = TokenBucket(10.0, 5, now=0.0)
    assert [bucket.take(1000.0) == 0.0 for _ in range(6)] == [True] * 5 + [False]


def test_unlimited_never_waits() -> None:
    bucket = TokenBucket(math.inf, 1, now=0.0)
    assert [bucket.take(0.0) for _ in range(1000)] == [0.0] * 1000


def test_a_rate_of_nothing_waits_for_ever() -> None:
    assert TokenBucket(0.0, 1, now=0.0).take(1e9) == math.inf


def test_what_was_earned_stays_when_the_limits_change_as_far_as_it_fits() -> None:
    bucket = TokenBucket(10.0, 10, now=0.0)
    bucket.change(20.0, 2, now=100.0)
    assert (bucket.rate, bucket.burst) == (20.0, 2)
    assert [bucket.take(100.0) == 0.0 for _ in range(3)] == [True, True, False]


def test_from_unlimited_to_a_rate_nothing_is_earned_for_the_time_before() -> None:
    bucket = TokenBucket(math.inf, 1, now=0.0)
    bucket.change(1.0, 1, now=1000.0)
    assert bucket.take(1000.0) > 0.0


def test_emptied_it_begins_with_no_tokens() -> None:
    bucket = TokenBucket(10.0, 5, now=0.0)
    bucket.empty(100.0)
    assert bucket.take(100.0) > 0.0
    assert bucket.take(100.2) == 0.0


def test_a_token_given_back_can_be_taken_again_and_never_overfills() -> None:
    bucket = TokenBucket(10.0, 2, now=0.0)
    assert bucket.take(100.0) == 0.0
    for _ in range(5):
        bucket.give_back()
    assert [bucket.take(100.0) == 0.0 for _ in range(3)] == [True, True, False]


def test_it_shows_its_numbers() -> None:
    assert repr(TokenBucket(50.0, 1, now=0.0)) == "<TokenBucket 50/s burst=1 tokens=0.00>"


def test_what_could_not_be_sent_may_be_sent_by_another_at_once() -> None:
    bucket = TokenBucket(1.0, 1, 0.0)
    assert bucket.take(5.0) == 0.0
    bucket.sent()
    assert bucket.take(5.0) > 0.0
    bucket.unsent()
    assert bucket.take(5.0) == 0.0


def test_it_tells_how_far_the_next_token_is_and_keeps_it() -> None:
    bucket = TokenBucket(10.0, 1, 0.0)
    assert bucket.ahead(0.0) == pytest.approx(0.1 / (1 - SLACK / WINDOW))
    assert (bucket.ahead(1.0), bucket.take(1.0)) == (0.0, 0.0)
    assert TokenBucket(math.inf, 1, 0.0).ahead(0.0) == 0.0
    assert TokenBucket(0.0, 1, 0.0).ahead(5.0) == math.inf
