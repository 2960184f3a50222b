from __future__ import annotations

import math

import pytest

from bufferproxy.policy.rest import FIRST, LONGEST, Rest


def test_a_service_that_is_well_lets_everybody_go() -> None:
    rest = Rest()
    assert [rest.wait(5.0), rest.wait(5.0)] == [0.0, 0.0]
    assert rest.remaining(5.0) == 0.0


def test_a_failed_connect_rests_the_service_and_then_lets_one_probe_go() -> None:
    rest = Rest()
    assert rest.unreachable(10.0, 0.0, "refused") == FIRST / 2
    assert rest.wait(10.0) == pytest.approx(FIRST / 2)
    assert rest.wait(10.05) == 0.0
    assert rest.wait(10.05) == math.inf
    rest.reached()
    assert [rest.wait(10.06), rest.wait(10.06)] == [0.0, 0.0]


def test_each_failed_probe_doubles_the_rest_up_to_its_cap() -> None:
    rest, now, rests = Rest(), 0.0, []
    for _ in range(9):
        rests.append(rest.unreachable(now, 1.0, "refused"))
        now = rest.until
        assert rest.wait(now) == 0.0
    assert rests == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, LONGEST, LONGEST, LONGEST])


def test_all_that_fail_in_one_moment_are_one_step() -> None:
    rest = Rest()
    first = rest.unreachable(0.0, 1.0, "refused")
    assert rest.unreachable(0.02, 1.0, "refused") == pytest.approx(first - 0.02)
    assert rest.until == first


def test_success_forgets_the_steps() -> None:
    rest = Rest()
    rest.unreachable(0.0, 1.0, "")
    rest.wait(1.0)
    rest.unreachable(1.0, 1.0, "")
    rest.wait(2.0)
    rest.reached()
    assert rest.unreachable(3.0, 1.0, "") == pytest.approx(FIRST)


def test_a_probe_that_does_not_try_leaves_its_place_to_the_next() -> None:
    rest = Rest()
    rest.unreachable(0.0, 1.0, "refused")
    assert rest.wait(1.0) == 0.0
    rest.forgo()
    assert rest.wait(1.0) == 0.0
    assert rest.wait(1.0) == math.inf


def test_the_longest_wish_of_the_service_holds() -> None:
    rest = Rest()
    rest.asked(0.0, 30.0, "503")
    rest.asked(1.0, 2.0, "429")
    assert (rest.remaining(1.0), rest.reason, rest.detail) == (29.0, "retry_after", "503")
    assert rest.wait(1.0) == 29.0
    assert [rest.wait(30.0), rest.wait(30.0)] == [0.0, 0.0]


def test_a_failed_connect_does_not_shorten_what_the_service_asked_for() -> None:
    rest = Rest()
    rest.asked(0.0, 30.0, "503")
    assert rest.unreachable(1.0, 1.0, "refused") == 29.0
    assert rest.until == 30.0


def test_it_shows_what_it_waits_for() -> None:
    rest = Rest()
    rest.asked(0.0, 30.0, "503")
    assert repr(rest) == "<Rest until=30.000 reason='retry_after' failures=0>"
