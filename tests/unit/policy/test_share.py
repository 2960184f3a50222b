from __future__ import annotations

import math

import pytest

from bufferproxy.policy.share import Share, share_of


def test_who_owns_all_has_all() -> None:
    assert share_of(50.0, 3, owned=12, total=12, holders=4) == Share(50.0, 3)


def test_who_owns_nothing_sends_nothing() -> None:
    assert share_of(50.0, 3, owned=0, total=12, holders=4) == Share(0.0, 1)


def test_unlimited_stays_unlimited() -> None:
    assert share_of(math.inf, 3, owned=1, total=12, holders=4) == Share(math.inf, 3)


def test_a_burst_for_all_is_split_and_costs_no_rate() -> None:
    assert share_of(120.0, 8, owned=3, total=12, holders=4) == Share(30.0, 2)


def test_tokens_beyond_the_burst_are_paid_for_by_the_rate() -> None:
    rate, burst = share_of(120.0, 1, owned=6, total=12, holders=2)
    assert burst == 1
    assert rate == pytest.approx((120.0 - 10.0) / 2)


def test_so_many_holders_that_their_tokens_alone_exceed_the_rate_send_nothing() -> None:
    assert share_of(20.0, 1, owned=1, total=12, holders=12) == Share(0.0, 1)
