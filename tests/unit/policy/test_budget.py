from __future__ import annotations

from math import inf

import pytest

from bufferproxy.policy.budget import ENOUGH, FLOOR, LONGEST, WINDOW, RetryBudget, stretched


def test_retries_are_a_share_of_first_attempts() -> None:
    budget = RetryBudget(0.2)
    budget.observe(500, 60, 60, 0.0)
    assert budget.left(0.0) == 40
    budget.observe(0, 40, 40, 0.0)
    assert (budget.left(0.0), budget.rate(0.0)) == (0, 0)


def test_a_quiet_service_has_the_floor_and_a_busy_one_no_more_than_its_share() -> None:
    budget = RetryBudget(0.2)
    assert budget.left(0.0) == FLOOR
    budget.observe(50, 0, 0, 0.0)
    assert budget.left(0.0) == FLOOR
    budget.observe(450, 0, 0, 0.0)
    assert budget.left(0.0) == 100


def test_the_window_slides() -> None:
    budget = RetryBudget(0.2)
    budget.observe(500, 100, 100, 0.0)
    assert budget.left(WINDOW) == FLOOR


def test_within_the_budget_nobody_waits_longer() -> None:
    budget = RetryBudget(0.2)
    budget.observe(500, 0, 99, 0.0)
    assert budget.wait(0.0) == 0.0


def test_beyond_it_each_waits_for_those_before_it() -> None:
    budget, waits = RetryBudget(0.2), []
    for _ in range(3):
        budget.observe(500, 100, 200, 0.0)
        waits.append(budget.wait(0.0))
        budget = _later(budget)
    assert waits == sorted(waits)
    assert waits[0] == pytest.approx(10.0)
    assert waits[2] > waits[0]


def _later(budget: RetryBudget) -> RetryBudget:
    """The same debts, a window later."""
    later = RetryBudget(0.2)
    later._waiting = budget._waiting
    return later


def test_what_was_never_planned_here_leaves_no_debt_behind() -> None:
    budget = RetryBudget(0.2)
    budget.observe(500, 80, 0, 0.0)
    budget.observe(0, 0, 20, 0.0)
    assert budget.wait(0.0) == 0.0


def test_a_wait_stretches_the_backoff_and_never_shortens_it() -> None:
    assert stretched(5.0, 0.0, 0.9) == 5.0
    assert stretched(5.0, 8.0, 0.0) == 8.0
    assert 8.0 < stretched(5.0, 8.0, 0.9) <= 10.0


def test_it_shows_its_numbers() -> None:
    assert repr(RetryBudget(0.2)) == "<RetryBudget 20% waiting=0 <Sliding 0 of 0 in 10 s>>"


def test_a_service_that_is_well_has_no_budget() -> None:
    """What an outage has left behind would expire at the floor."""
    budget = RetryBudget(0.2)
    budget.observe(500, 0, 400, 0.0)
    budget.ended(500, 400, 0.0)
    assert budget.left(0.0) == 100
    budget.observe(0, 100, 0, 5.0)
    budget.ended(100, 0, 5.0)
    assert (budget.left(5.0), budget.well(5.0)) == (0, False)
    budget.observe(0, 30, 0, WINDOW)
    budget.ended(30, 3, WINDOW)
    assert budget.well(WINDOW)
    assert (budget.rate(WINDOW), budget.wait(WINDOW)) == (inf, 0.0)
    budget.ended(30, 20, WINDOW + 0.1)
    assert not budget.well(WINDOW + 0.1)


def test_few_attempts_tell_nothing() -> None:
    budget = RetryBudget(0.2)
    budget.ended(ENOUGH - 1, 0, 0.0)
    assert not budget.well(0.0)


def test_nobody_is_put_off_for_longer_than_a_service_may_need_to_be_well() -> None:
    assert stretched(1.0, 1000.0, 0.0) == LONGEST
    assert stretched(60.0, 1000.0, 0.0) == 60.0
