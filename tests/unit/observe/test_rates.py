from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bufferproxy.observe.events import Accepted, Events, Finished, Held
from bufferproxy.observe.meters import Meters
from bufferproxy.observe.rates import NO_RATES, SAMPLE_EVERY, RecentRates

if TYPE_CHECKING:
    from tests.unit.observe.conftest import HandClock


def world(clock: HandClock) -> tuple[RecentRates, Events, Meters]:
    meters, events = Meters(["auth"]), Events()
    meters.subscribe(events)
    return RecentRates(meters, clock), events, meters


def test_without_time_there_is_no_rate(clock: HandClock) -> None:
    rates, events, _ = world(clock)
    events.emit(Accepted("auth", 1, 0.1))
    assert rates.rates("auth") == NO_RATES
    assert rates.rates("ghost") == NO_RATES


def test_a_young_process_divides_by_its_age(clock: HandClock) -> None:
    rates, events, _ = world(clock)
    for _ in range(8):
        events.emit(Accepted("auth", 1, 0.1))
    events.emit(Finished("auth", "delivered"))
    events.emit(Finished("auth", "dead"))
    clock.time += 2
    assert rates.rates("auth").accepted == 4
    assert rates.rates("auth").delivered == 0.5


def test_what_is_older_than_ten_seconds_no_longer_counts(clock: HandClock) -> None:
    rates, events, _ = world(clock)
    events.emit(Accepted("auth", 1, 0.1))
    for _ in range(30):
        clock.time += 1
        rates.sample()
    for _ in range(5):
        events.emit(Accepted("auth", 1, 0.1))
    assert rates.rates("auth").accepted == pytest.approx(0.5)


def test_what_held_delivery_back_comes_largest_first(clock: HandClock) -> None:
    rates, events, _ = world(clock)
    events.emit(Held("auth", "concurrency", 1.0))
    events.emit(Held("auth", "ceiling", 3.0))
    clock.time += 4
    assert list(rates.rates("auth").throttled.items()) == [("ceiling", 0.75), ("concurrency", 0.25)]


def test_a_service_that_is_gone_has_no_rates(clock: HandClock) -> None:
    rates, _, meters = world(clock)
    meters.configure(["mail"])
    clock.time += 1
    assert rates.rates("auth") == NO_RATES
    rates.sample()
    assert rates.rates("mail") == NO_RATES


def test_rates_go_back_over_the_window_and_no_further(clock: HandClock) -> None:
    rates, events, _ = world(clock)
    for _ in range(12):
        events.emit(Accepted("auth", 1, 0.1))
        clock.time += SAMPLE_EVERY
        rates.sample()
    assert rates.rates("auth").accepted == pytest.approx(1.0)
