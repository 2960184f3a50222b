from __future__ import annotations

import math

import pytest

from bufferproxy.policy.ramp import START, Ramp


def test_without_a_cause_there_is_none() -> None:
    assert (Ramp(30.0).share(0.0), Ramp(30.0).rate(50.0, 0.0)) == (1.0, 50.0)


def test_it_waits_at_its_start_until_something_is_sent_and_then_climbs() -> None:
    ramp = Ramp(30.0)
    ramp.arm()
    assert [ramp.share(now) for now in (0.0, 1000.0)] == [START, START]
    ramp.sent(1000.0)
    ramp.sent(1010.0)
    assert [ramp.rate(100.0, 1000.0 + after) for after in (0.0, 15.0, 30.0, 99.0)] == pytest.approx(
        [10.0, 55.0, 100.0, 100.0]
    )


def test_a_slow_service_does_not_wait_for_minutes_for_its_first() -> None:
    ramp = Ramp(30.0)
    ramp.arm()
    assert (ramp.rate(2.0, 0.0), ramp.rate(0.5, 0.0)) == (1.0, 0.5)


def test_unlimited_stays_unlimited() -> None:
    ramp = Ramp(30.0)
    ramp.arm()
    assert ramp.rate(math.inf, 0.0) == math.inf


def test_of_no_seconds_it_is_none() -> None:
    ramp = Ramp(0.0)
    ramp.arm()
    assert ramp.share(0.0) == 1.0


def test_a_new_leader_goes_on_from_the_share_it_was_told() -> None:
    ramp = Ramp(30.0)
    ramp.arm()
    ramp.resume(0.55, 100.0)
    assert [ramp.share(now) for now in (100.0, 115.0)] == pytest.approx([0.55, 1.0])
    ramp.resume(1.0, 200.0)
    assert ramp.share(200.0) == 1.0


def test_it_shows_its_numbers() -> None:
    assert repr(Ramp(30.0)) == "<Ramp 30 s armed=False since=-inf>"
