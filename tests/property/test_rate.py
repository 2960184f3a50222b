"""The rate ceiling as a black box: whatever is asked of it at whatever times, the promise holds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from bufferproxy.policy.backoff import backoff
from bufferproxy.policy.bucket import SLACK, WINDOW, TokenBucket
from bufferproxy.policy.rest import LONGEST, Rest

if TYPE_CHECKING:
    from collections.abc import Sequence

RATES = st.floats(0.01, 5000.0)
BURSTS = st.integers(1, 50)
WAITS = st.floats(0.0, 2.0)
"""Seconds between two events."""

EPSILON = 1e-6


def worst_excess(grants: Sequence[float], allowed: float, burst: float) -> float:
    """The most grants in any window of WINDOW or longer, beyond `allowed * W + burst`."""
    excess = -math.inf
    for first in range(len(grants)):
        for last in range(first, len(grants)):
            seconds = max(WINDOW, grants[last] - grants[first])
            excess = max(excess, last - first + 1 - (allowed * seconds + burst))
    return excess


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), WAITS, st.integers(1, 5)),
        st.tuples(st.just("late"), WAITS, st.floats(0.0, 0.05)),
        st.tuples(st.just("change"), WAITS, st.tuples(RATES, BURSTS)),
        st.tuples(st.just("empty"), WAITS, st.none()),
        st.tuples(st.just("back"), WAITS, st.none()),
    ),
    max_size=120,
)


@given(RATES, BURSTS, EVENTS)
@settings(max_examples=200, deadline=None)
def test_no_window_has_more_than_the_ceiling_whatever_is_asked_when(
    rate: float, burst: int, events: list[tuple[str, float, object]]
) -> None:
    bucket, now = TokenBucket(rate, burst, 0.0), 0.0
    highest, largest = rate, float(burst)
    grants: list[float] = []
    for what, wait, argument in events:
        now += wait
        match what, argument:
            case "take", int(times):
                grants += [now for _ in range(times) if bucket.take(now) == 0.0]
            case "late", float(lateness):
                wait = bucket.take(now)
                if wait == 0.0:
                    grants.append(now)
                elif wait < 10.0:
                    now += max(wait, 1e-6) + lateness
                    if bucket.take(now) == 0.0:
                        grants.append(now)
            case "change", (float(rate), int(burst)):
                bucket.change(rate, burst, now)
                highest, largest = max(highest, rate), max(largest, float(burst))
            case "empty", _:
                bucket.empty(now)
            case "back", _ if bucket.take(now) == 0.0:
                bucket.give_back()
    assert worst_excess(grants, highest, largest) <= EPSILON


@given(st.floats(1.0, 2000.0), BURSTS)
@settings(max_examples=50, deadline=None)
def test_who_takes_whatever_there_is_after_a_rest_keeps_the_promise_in_its_shortest_window(
    rate: float, burst: int
) -> None:
    bucket, now = TokenBucket(rate, burst, 0.0), 100.0
    grants: list[float] = []
    while now < 100.25:
        wait = bucket.take(now)
        if wait == 0.0:
            grants.append(now)
        now += max(wait, 1e-6) if wait else 0.0
    assert worst_excess(grants, rate, burst) <= EPSILON


@given(st.floats(0.5, 5000.0), BURSTS, st.lists(st.floats(0.0, SLACK), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_with_prompt_wake_ups_95_percent_of_it_are_used(rate: float, burst: int, late: list[float]) -> None:
    bucket, now, granted = TokenBucket(rate, burst, 0.0), 0.0, 0
    while granted < 400:
        wait = bucket.take(now)
        if wait == 0.0:
            granted += 1
        else:
            now += max(wait, 1e-6) + late[granted % len(late)]  # no timer is finer than a microsecond
    # The first token has to be earned, and the last wake-up may be late.
    assert granted + 1 + rate * SLACK >= 0.95 * rate * now


@given(
    st.integers(1, 10_000),
    st.floats(0.001, 1e4),
    st.floats(0.001, 1e6),
    st.floats(0.0, 1.0, exclude_max=True),
)
def test_backoff_stays_within_its_bounds_and_jitter_only_shortens(
    attempt: int, first: float, most: float, random: float
) -> None:
    plain = backoff(attempt, first=first, max=most, jitter="none", random=random)
    full = backoff(attempt, first=first, max=most, jitter="full", random=random)
    assert min(first, most) <= plain <= most
    assert 0.0 <= full <= plain
    assert backoff(attempt + 1, first=first, max=most, jitter="none", random=random) >= plain


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ask", "fail", "reach", "wish"]), st.floats(0.0, 3.0), st.floats(0.0, 0.999)
        ),
        max_size=100,
    )
)
def test_while_a_service_cannot_be_reached_one_probe_at_a_time_goes(
    events: list[tuple[str, float, float]],
) -> None:
    rest, now, down, probes = Rest(), 0.0, False, 0
    for what, wait, random in events:
        now += wait
        match what:
            case "ask":
                let_go = rest.wait(now) == 0.0
                assert not (let_go and rest.remaining(now))
                if down:
                    probes += let_go
                    assert probes <= 1
            case "fail":
                # While it rests for whatever cause, a failure tells nothing new.
                down = down or rest.remaining(now) == 0.0
                assert 0.0 < rest.unreachable(now, random, "") <= max(LONGEST, rest.remaining(now))
                probes = 0
            case "reach":
                rest.reached()
                down, probes = False, 0
            case _:
                until = rest.until
                rest.asked(now, random, "")
                assert rest.until >= max(until, now + random)
