from __future__ import annotations

import math

import pytest

from bufferproxy.accept.admission import Limits, Reading, admit, eta
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
    ("reading", "size"),
    [
        (Reading(0, 0, 50.0), 1000),
        (Reading(99, 999, 50.0), 1),
        (Reading(99, 0, 9.9), 0),
        (Reading(99, 0, 0.0), 0),
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
