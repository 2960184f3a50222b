from __future__ import annotations

import math

import pytest

from bufferproxy.accept.admission import Limits, Outlook, Reading, admit, eta, foreseen
from bufferproxy.accept.backlog import STALE_SECONDS, Backlog
from bufferproxy.http1.problems import Problem

LIMITS = Limits(requests=100, size=1000, wait=10.0)


@pytest.mark.parametrize(
    ("reading", "seconds"),
    [
        (Reading(0, 0, 50.0), 0.0),
        (Reading(100, 0, 50.0), 2.0),
        (Reading(100, 0, math.inf), 0.0),
        (Reading(100, 0, 0.0), 0.0),
    ],
)
def test_the_predicted_wait_is_what_lies_ahead_over_the_pace(reading: Reading, seconds: float) -> None:
    assert eta(reading) == seconds


@pytest.mark.parametrize(
    ("outlook", "ahead", "seconds"),
    [
        (Outlook(40.0), 0, 40.0),
        (Outlook(40.0), 100, 42.0),
        (Outlook(math.inf), 0, math.inf),
        (Outlook(0.0, 0.1, 0.03), 0, 0.0),
        (Outlook(0.0, 0.1, 0.03), 3300, 79.5),  # 30 s of climbing are worth 16.5 s
        (Outlook(40.0, 0.1, 0.03), 825, 70.0),
        (Outlook(0.0, 0.1, 0.03), 25, 3.33),
        (Outlook(0.0, 0.1, 0.0), 100, 2.0),
    ],
)
def test_what_is_known_of_a_rest_and_a_ramp_comes_before_it(
    outlook: Outlook, ahead: int, seconds: float
) -> None:
    assert foreseen(Reading(0, 0, 50.0, 0, outlook), ahead) == pytest.approx(seconds, abs=0.01)


@pytest.mark.parametrize(
    ("reading", "size"),
    [
        (Reading(0, 0, 50.0), 1000),
        (Reading(99, 999, 50.0), 1),
        (Reading(99, 0, 9.9), 0),
        (Reading(99, 0, 0.0), 0),
        (Reading(99, 0, 50.0, 0, Outlook(8.0)), 0),
        (Reading(99, 0, 50.0, 0, Outlook(math.inf)), 0),
    ],
)
def test_what_fits_is_admitted(reading: Reading, size: int) -> None:
    assert admit(LIMITS, reading, size) is None


@pytest.mark.parametrize(
    ("reading", "size", "problem"),
    [
        (
            Reading(100, 0, 50.0),
            0,
            Problem("backlog-full", "100 requests wait, and backlog.requests is 100", 1.0),
        ),
        (
            Reading(100, 0, 0.01),
            0,
            Problem("backlog-full", "100 requests wait, and backlog.requests is 100", 60.0),
        ),
        (
            Reading(5, 990, 50.0),
            11,
            Problem("backlog-full", "990 bytes wait, and backlog.bytes is 1000", 1.0),
        ),
        (
            Reading(99, 0, 4.0),
            0,
            Problem("wait-too-long", "it would wait 25 s, and backlog.wait is 10 s", 14.75),
        ),
        (
            Reading(99, 0, 0.1),
            0,
            Problem("wait-too-long", "it would wait 990 s, and backlog.wait is 10 s", 60.0),
        ),
        (
            Reading(0, 0, 50.0, 0, Outlook(40.0)),
            0,
            Problem("wait-too-long", "it would wait 40 s, and backlog.wait is 10 s", 30.0),
        ),
        (
            Reading(99, 0, 4.0, 0, Outlook(math.inf)),
            0,
            Problem("wait-too-long", "it would wait 25 s, and backlog.wait is 10 s", 14.75),
        ),
        (
            Reading(100, 0, 50.0, 0, Outlook(40.0)),
            0,
            Problem("backlog-full", "100 requests wait, and backlog.requests is 100", 40.02),
        ),
        (
            Reading(99, 0, 9.89),
            0,
            Problem("wait-too-long", "it would wait 10 s, and backlog.wait is 10 s", 1.0),
        ),
    ],
)
def test_the_first_limit_that_is_reached_names_itself_and_when_to_come_back(
    reading: Reading, size: int, problem: Problem
) -> None:
    assert admit(LIMITS, reading, size) == problem


def test_nobody_is_refused_by_figures_that_the_log_could_not_renew_for_a_while() -> None:
    now = 0.0
    backlog = Backlog(10.0, exact=False, now=lambda: now)
    limits = Limits(100, 1000, 60.0)
    backlog.measured(5000, 10, 0.0, {})
    assert admit(limits, backlog, 1) is not None
    backlog.measured(5000, 10, 0.0, {}, stale=True)
    now = STALE_SECONDS
    assert admit(limits, backlog, 1) is not None, "not that old yet"
    now += 0.1
    assert admit(limits, backlog, 1) is None
    backlog.measured(5000, 10, 0.0, {})
    assert admit(limits, backlog, 1) is not None
