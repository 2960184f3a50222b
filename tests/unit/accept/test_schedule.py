from __future__ import annotations

import pytest

from bufferproxy.accept.schedule import NOTHING, Schedule, moment, schedule_of
from bufferproxy.http1.problems import Problem
from bufferproxy.records import Priority

Fields = list[tuple[bytes, bytes]]

T = 1_750_000_000_000
HOUR = 3_600_000


def read(*fields: tuple[bytes, bytes]) -> Schedule | Problem:
    return schedule_of(list(fields), {name.lower(): value for name, value in reversed(fields)})


def test_who_says_nothing_of_it_wants_it_now() -> None:
    assert read((b"Bufferproxy-Key", b"k")) is NOTHING
    assert (NOTHING.delayed, NOTHING.due_at(T), NOTHING.moments(T, HOUR)) == (False, None, (None, T + HOUR))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (b"Bufferproxy-Delay", b"30s", Schedule(delay=30_000)),
        (b"bufferproxy-delay", b" 1.5m ", Schedule(delay=90_000)),
        (b"Bufferproxy-Delay", b"0s", NOTHING),
        (b"Bufferproxy-Delay", b"0.1ms", Schedule(delay=1)),
        (b"Bufferproxy-Not-Before", b"2025-06-15T15:06:40Z", Schedule(not_before=T)),
        (b"Bufferproxy-Expires", b"10m", Schedule(lives=600_000)),
        (b"Bufferproxy-Priority", b"high", Schedule(priority=Priority.HIGH)),
        (b"Bufferproxy-Priority", b"Low", Schedule(priority=Priority.LOW)),
        (b"Bufferproxy-Priority", b"normal", Schedule(priority=Priority.NORMAL)),
    ],
)
def test_what_is_said_is_understood(name: bytes, value: bytes, expected: Schedule) -> None:
    assert read((name, value)) == expected


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Bufferproxy-Delay", b"30")],
        [(b"Bufferproxy-Delay", b"")],
        [(b"Bufferproxy-Delay", b"-1s")],
        [(b"Bufferproxy-Delay", b"\xff")],
        [(b"Bufferproxy-Delay", b"999999d")],
        [(b"Bufferproxy-Delay", b"1s"), (b"bufferproxy-delay", b"1s")],
        [(b"Bufferproxy-Delay", b"1s"), (b"Bufferproxy-Not-Before", b"2025-06-15T15:06:40Z")],
        [(b"Bufferproxy-Not-Before", b"tomorrow")],
        [(b"Bufferproxy-Not-Before", b"2025-06-15T15:06:40")],
        [(b"Bufferproxy-Not-Before", b"2025-02-30T15:06:40Z")],
        [(b"Bufferproxy-Not-Before", b"0000-01-01T00:00:00Z")],
        [(b"Bufferproxy-Not-Before", b"1750000000")],
        [(b"Bufferproxy-Expires", b"soon")],
        [(b"Bufferproxy-Expires", b"0s")],
        [(b"Bufferproxy-Priority", b"urgent")],
        [(b"Bufferproxy-Priority", b"")],
        [(b"Bufferproxy-Priority", b"low"), (b"Bufferproxy-Priority", b"high")],
    ],
)
def test_what_cannot_be_understood_is_a_bad_request_that_names_the_header(fields: Fields) -> None:
    problem = read(*fields)
    assert isinstance(problem, Problem)
    assert problem.slug == "bad-request"
    assert "Bufferproxy-" in problem.detail


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2025-06-15T15:06:40Z", T),
        ("2025-06-15t17:06:40.25+02:00", T + 250),
        ("2025-06-15 10:06:40-05:00", T),
        ("2025-06-15T15:06:40.0001Z", T + 1),
        ("2025-06-15T15:06:40.123456789012z", T + 124),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("9999-12-31T23:59:59Z", 253_402_300_799_000),
    ],
)
def test_a_moment_is_read_and_never_taken_for_an_earlier_one(text: str, ms: int) -> None:
    assert moment(text) == ms


def test_a_delay_counts_anew_each_time_and_a_moment_stays_where_it_is() -> None:
    assert Schedule(delay=5).due_at(T) == T + 5
    assert Schedule(delay=5).due_at(T + 1) == T + 6
    assert Schedule(not_before=T + 5).due_at(T) == T + 5
    assert Schedule(not_before=T + 5).due_at(T + 5) is None


def test_a_moment_is_as_near_as_the_longest_delay() -> None:
    far = 36_500 * 24 * HOUR
    assert Schedule(not_before=T + far).impossible(T) is None
    assert Schedule(not_before=T + far + 1).impossible(T) is not None
    assert Schedule(not_before=T + far + 1).impossible(T + 1) is None


def test_the_services_time_counts_from_when_it_may_be_sent_and_the_callers_from_acceptance() -> None:
    assert Schedule(delay=2 * HOUR).moments(T, HOUR) == (T + 2 * HOUR, T + 3 * HOUR)
    assert Schedule(delay=2 * HOUR, lives=HOUR).moments(T, HOUR) == (T + 2 * HOUR, T + HOUR)
    assert Schedule(not_before=T - 1, lives=9 * HOUR).moments(T, HOUR) == (None, T + HOUR)
    assert Schedule(lives=HOUR).living(7).lives == Schedule().living(7).lives == 7
