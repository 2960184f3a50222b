from __future__ import annotations

from itertools import pairwise

import pytest

from bufferproxy.policy.adaptive import BEGIN, DIP, HOLD, Adaptive, AdaptiveRule
from bufferproxy.policy.tally import Ending, Tally

RULE = AdaptiveRule(min=2, max=200)
TICK = 0.25


def served(seconds: float, in_flight: int, count: int = 50) -> Tally:
    tally = Tally()
    for _ in range(count):
        tally.ended(Ending.SERVED, seconds, 0)
    tally.in_flight = in_flight
    return tally


def hurt(ending: Ending, count: int, of: int, in_flight: int, seconds: float = 0.02) -> Tally:
    tally = served(0.02, in_flight, of - count)
    for _ in range(count):
        tally.ended(ending, seconds, 0)
    return tally


class Driven:
    """Ticks on; by default the service is as fast with many in flight as with few."""

    def __init__(self, rule: AdaptiveRule = RULE) -> None:
        self.now = 0.0
        self.adaptive = Adaptive(rule, 0.0)

    def tick(self, seconds: float = 0.02, in_flight: int | None = None, count: int = 50) -> int:
        """By default as many are in flight as may be."""
        self.now += TICK
        flying = self.adaptive.limit if in_flight is None else in_flight
        self.adaptive.observe(served(seconds, flying, count), self.now)
        return self.adaptive.limit

    def ticks(self, number: int, seconds: float = 0.02, in_flight: int | None = None) -> list[int]:
        return [self.tick(seconds, in_flight) for _ in range(number)]

    def settled(self) -> Driven:
        self.ticks(8, in_flight=18)  # the first dip is over, and the base is known
        return self


def test_it_begins_within_its_bounds() -> None:
    limits = [Adaptive(AdaptiveRule(low, high), 0.0).limit for low, high in ((2, 200), (50, 200), (2, 5))]
    assert limits == [BEGIN, 50, 5]


def test_it_grows_to_its_maximum_while_it_is_used_and_nothing_gets_slower() -> None:
    limits = Driven().ticks(100)
    assert max(limits) == RULE.max


def test_it_does_not_grow_while_it_is_not_used() -> None:
    driven = Driven()
    assert driven.ticks(400, in_flight=10) == [BEGIN] * 400


def test_who_waited_for_a_place_shows_that_it_was_used() -> None:
    driven = Driven()
    for _ in range(100):
        driven.now += TICK
        tally = served(0.02, 3)
        tally.waited = 1
        driven.adaptive.observe(tally, driven.now)
    assert driven.adaptive.limit > BEGIN


@pytest.mark.parametrize("ending", [Ending.REFUSED, Ending.OVERLOADED, Ending.TIMEOUT])
@pytest.mark.parametrize(("count", "expected"), [(5, 18), (30, 14), (100, 10)])
def test_a_sign_of_load_cuts_by_its_share_a_tenth_to_a_half(
    ending: Ending, count: int, expected: int
) -> None:
    adaptive = Adaptive(RULE, 0.0)
    adaptive.observe(hurt(ending, count, 100, in_flight=BEGIN), 1.0)
    assert adaptive.limit == expected


@pytest.mark.parametrize("ending", [Ending.FAILED, Ending.INTERRUPTED, Ending.CONNECT, Ending.PLAIN])
def test_other_endings_are_no_sign_of_load(ending: Ending) -> None:
    adaptive = Adaptive(RULE, 0.0)
    adaptive.observe(hurt(ending, 50, 100, in_flight=10), 1.0)
    assert adaptive.limit == BEGIN


def test_one_in_a_hundred_is_bad_luck() -> None:
    adaptive = Adaptive(RULE, 0.0)
    adaptive.observe(hurt(Ending.TIMEOUT, 1, 100, in_flight=10), 1.0)
    assert adaptive.limit == BEGIN


def test_it_is_cut_at_most_once_per_round_trip() -> None:
    adaptive = Adaptive(RULE, 0.0)
    for step in range(8):  # all of them were in flight at the first cut, and take two seconds
        adaptive.observe(hurt(Ending.TIMEOUT, 50, 50, in_flight=BEGIN, seconds=2.0), step * TICK)
    assert adaptive.limit == BEGIN // 2
    adaptive.observe(hurt(Ending.TIMEOUT, 50, 50, in_flight=BEGIN // 2, seconds=2.0), 2.6)
    assert adaptive.limit == BEGIN // 4


def test_it_is_cut_from_what_was_in_flight_not_from_a_limit_far_above() -> None:
    adaptive = Adaptive(RULE, 0.0)
    adaptive.observe(hurt(Ending.REFUSED, 100, 100, in_flight=8), 1.0)
    assert adaptive.limit == 4


def test_after_a_cut_it_comes_back_quickly_to_the_neighbourhood_and_stays_long_below() -> None:
    driven = Driven().settled()
    driven.adaptive.observe(hurt(Ending.REFUSED, 100, 100, in_flight=20), driven.now)
    cut, start = driven.adaptive.limit, driven.now
    assert cut == 10
    limits = {}
    while driven.now < start + 2 * HOLD:
        driven.tick()
        limits[round((driven.now - start) / HOLD, 2)] = driven.adaptive._saved or driven.adaptive._limit
    tops = {at: limit if isinstance(limit, float) else limit[0] for at, limit in limits.items()}
    assert tops[0.5] >= 18
    assert all(top <= 20.1 for at, top in tops.items() if at <= 1.0)
    assert tops[1.9] > 24


def test_refused_at_the_least_limit_it_does_not_grow_at_once() -> None:
    driven = Driven(AdaptiveRule(min=2, max=3))
    driven.adaptive.resume(2)
    driven.adaptive.observe(hurt(Ending.REFUSED, 100, 100, in_flight=2), driven.now)
    assert set(driven.ticks(100)) == {2}


def test_latency_that_grows_with_what_is_in_flight_holds_the_limit_near_the_slots() -> None:
    driven = Driven()
    for _ in range(800):
        driven.tick(0.02 * max(1.0, driven.adaptive.limit / 10))
    assert 10 <= driven.adaptive.limit <= 20
    assert driven.adaptive.base <= 0.03


def test_a_dip_that_costs_nothing_is_kept_and_followed_by_another() -> None:
    driven = Driven()
    driven.adaptive.resume(160)  # in the midst of a queue, by a new leader that knows no base
    while driven.now < 12.0:
        driven.tick(0.02 * max(1.0, driven.adaptive.limit / 10))
    assert driven.adaptive.limit <= 25


def test_latency_that_stays_after_a_large_cut_is_the_new_base_before_any_dip() -> None:
    driven = Driven().settled()
    start = driven.now
    while driven.now < start + 12.0:
        driven.tick(2.0)
        assert driven.adaptive._saved is None
    assert driven.adaptive.base == pytest.approx(2.0)


def test_the_base_follows_a_service_that_becomes_faster() -> None:
    driven = Driven().settled()
    start = driven.now
    while driven.now < start + 12.0:
        driven.tick(0.005)
    assert driven.adaptive.base == pytest.approx(0.005, rel=0.1)


def test_a_small_cut_does_not_raise_the_base() -> None:
    driven = Driven()
    driven.ticks(8, in_flight=18)
    driven.adaptive.resume(14)
    base, start = driven.adaptive.base, driven.now
    while driven.now < start + DIP / 2:  # a queue that hardly gets shorter by what little is cut
        driven.tick(0.035)
    assert driven.adaptive.base == base
    assert driven.adaptive.limit < 14


def test_a_service_that_became_slower_by_itself_is_not_held_down_for_ever() -> None:
    driven = Driven()
    driven.ticks(100)
    driven.ticks(80, seconds=2.0)
    assert driven.adaptive.base == pytest.approx(2.0)
    driven.ticks(200, seconds=2.0)
    assert max(driven.ticks(100, seconds=2.0)) > 100


def test_a_dip_is_short_and_seldom() -> None:
    driven = Driven().settled()
    dips = [driven.adaptive._saved is not None for _ in range(1200) if driven.tick()]
    assert 0 < sum(dips) / len(dips) < 0.06
    begins = sum(now and not before for before, now in pairwise(dips))
    assert begins <= 1200 * TICK / DIP + 1


def test_it_never_leaves_its_bounds() -> None:
    driven = Driven(AdaptiveRule(min=4, max=30))
    for _ in range(20):
        driven.adaptive.observe(hurt(Ending.REFUSED, 100, 100, in_flight=30), driven.now)
        driven.now += 1.0
    assert driven.adaptive.limit == 4
    assert max(driven.ticks(4000)) == 30


def test_in_shadow_it_finds_a_limit_from_what_is_in_flight_and_tries_nothing() -> None:
    driven = Driven(AdaptiveRule(shadow=True))
    driven.ticks(20, in_flight=8)
    for _ in range(40):
        driven.tick(0.2, in_flight=100)
        assert driven.adaptive._saved is None
    assert driven.adaptive.limit <= 65


def test_new_bounds_and_a_new_leader_keep_to_the_bounds() -> None:
    adaptive = Adaptive(RULE, 0.0)
    adaptive.change(AdaptiveRule(2, 10))
    assert adaptive.limit == 10
    adaptive.resume(500)
    assert adaptive.limit == 10


def test_it_shows_its_numbers() -> None:
    assert repr(Adaptive(RULE, 0.0)) == "<Adaptive 20.0 base=0.0000 round=0.0000 wall=inf>"
