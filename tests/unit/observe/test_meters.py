from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufferproxy.http1.problems import PROBLEMS
from bufferproxy.observe.events import (
    Accepted,
    Attempted,
    DeadLettered,
    Events,
    Finished,
    Held,
    LeasesChanged,
    LogAppended,
    LogOperated,
    LoopLagged,
    Quarantined,
    Redriven,
    Refused,
    Reloaded,
    RetryScheduled,
)
from bufferproxy.observe.labels import OUTCOMES, REFUSALS
from bufferproxy.observe.meters import LAG_SAMPLES, Meters
from bufferproxy.observe.tally import MOST_REASONS, Histogram, Tally


def counting(*services: str) -> tuple[Meters, Events]:
    meters, events = Meters(services), Events()
    meters.subscribe(events)
    return meters, events


def test_an_acceptance_is_counted_with_its_size_and_time() -> None:
    meters, events = counting("auth")
    events.emit(Accepted("auth", 512, 0.003))
    auth = meters.services["auth"]
    assert auth.accepted == 1
    assert (auth.body_bytes.total, auth.accept_seconds.total) == (512, 0.003)
    assert sum(auth.accept_seconds.counts) == sum(auth.body_bytes.counts) == 1


def test_an_attempt_counts_its_result_and_only_a_first_one_its_time_in_the_queue() -> None:
    meters, events = counting("auth")
    events.emit(Attempted("auth", "retryable", 0.1, 2.0))
    events.emit(Attempted("auth", "success", 0.2, None))
    auth = meters.services["auth"]
    assert (auth.attempts["retryable"], auth.attempts["success"]) == (1, 1)
    assert sum(auth.delivery_seconds.counts) == 2
    assert sum(auth.queue_seconds.counts) == 1


def test_ends_retries_dead_letters_and_throttled_time_are_counted_by_reason() -> None:
    meters, events = counting("auth")
    for outcome in OUTCOMES:
        events.emit(Finished("auth", outcome))
    events.emit(RetryScheduled("auth", "599", 1.0))
    events.emit(DeadLettered("auth", "attempts"))
    events.emit(Quarantined("auth", "version b'9'"))
    events.emit(Held("auth", "ceiling", 0.25))
    events.emit(Held("auth", "ceiling", 0.5))
    auth = meters.services["auth"]
    assert dict(auth.finished) == dict.fromkeys(OUTCOMES, 1)
    assert auth.retries["599"] == 1
    assert (auth.dead_lettered["attempts"], auth.dead_lettered["undecodable"]) == (1, 1)
    assert auth.throttled["ceiling"] == 0.75


def test_a_redriven_dead_letter_counts_as_accepted_again() -> None:
    meters, events = counting("auth")
    events.emit(Redriven("auth", 5))
    events.emit(Redriven("none", 5))
    auth = meters.services["auth"]
    assert (auth.accepted, auth.redriven, sum(auth.accept_seconds.counts)) == (1, 1, 0)


def test_a_refusal_without_a_service_is_counted_apart() -> None:
    meters, events = counting("auth")
    events.emit(Refused(None, "no-service"))
    events.emit(Refused("auth", "backlog-full"))
    assert meters.unrouted["no-service"] == 1
    assert meters.services["auth"].refused["backlog-full"] == 1
    assert meters.services["auth"].refused["no-service"] == 0


def test_every_reason_of_a_refusal_is_a_problem_that_callers_get() -> None:
    assert set(REFUSALS) <= set(PROBLEMS)


def test_a_service_that_is_not_configured_never_becomes_a_label() -> None:
    meters, events = counting("auth")
    for event in (
        Accepted("ghost", 1, 0.1),
        Refused("ghost", "backlog-full"),
        Attempted("ghost", "success", 0.1, 0.1),
        Finished("ghost", "delivered"),
        RetryScheduled("ghost", "5xx", 1.0),
        DeadLettered("ghost", "attempts"),
        Quarantined("ghost", "version b'9'"),
        Held("ghost", "ceiling", 1.0),
    ):
        events.emit(event)
    assert set(meters.services) == {"auth"}
    assert meters.services["auth"].accepted == 0


def test_a_reload_keeps_the_numbers_of_services_that_stay() -> None:
    meters, events = counting("auth", "mail")
    events.emit(Accepted("auth", 1, 0.1))
    meters.configure(["auth", "pay"])
    events.emit(Accepted("mail", 1, 0.1))
    assert set(meters.services) == {"auth", "pay"}
    assert meters.services["auth"].accepted == 1
    assert meters.services["pay"].accepted == 0


def test_operations_of_the_log_are_timed_and_their_failures_counted() -> None:
    meters, events = counting()
    events.emit(LogAppended([0.002, 0.0002]))
    events.emit(LogOperated("append", 3.0, "AppendUncertain"))
    assert [count for count in meters.operations["append"].counts if count] == [1, 1, 1]
    assert meters.operations["append"].total == pytest.approx(3.0022)
    assert meters.operation_errors["append"] == 1
    assert meters.operation_errors["fetch"] == 0


def test_rebalances_reloads_and_the_worst_recent_lag_are_kept() -> None:
    meters, events = counting("auth")
    assert meters.worst_lag == 0
    events.emit(LeasesChanged("auth", 3))
    events.emit(Reloaded(False, "no"))
    events.emit(LoopLagged(0.5))
    for _ in range(LAG_SAMPLES - 1):
        events.emit(LoopLagged(0.001))
    assert (meters.rebalances, meters.reload_success, meters.worst_lag) == (1, False, 0.5)
    events.emit(LoopLagged(0.001))
    assert meters.worst_lag == 0.001


def test_a_flood_of_different_reasons_ends_in_other() -> None:
    tally = Tally(("known",))
    for number in range(1000):
        tally.add(f"id-{number}")
    tally.add("known")
    assert len(tally) == MOST_REASONS + 1
    assert tally["known"] == 1
    assert tally["other"] == 1000 - (MOST_REASONS - 1)


@pytest.mark.parametrize(("value", "bucket"), [(0.0, 0), (1.0, 0), (1.0001, 1), (2.0, 1), (99.0, 2)])
def test_a_bound_belongs_to_its_bucket(value: float, bucket: int) -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.observe(value)
    assert histogram.counts.index(1) == bucket


@given(st.lists(st.floats(0, 100)))
def test_buckets_cumulate_to_the_number_of_observations(values: list[float]) -> None:
    histogram = Histogram((0.5, 1.0, 50.0))
    for value in values:
        histogram.observe(value)
    rows = histogram.cumulated()
    assert [count for _, count in rows] == [sum(v <= bound for v in values) for bound, _ in rows]
    assert all(a <= b for (_, a), (_, b) in itertools.pairwise(rows))
