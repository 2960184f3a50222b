from __future__ import annotations

import math

import pytest

from bufferproxy.policy.tally import Ending, Tally


def busy() -> Tally:
    tally = Tally(era=3)
    for ending, seconds in [(Ending.SERVED, 0.2), (Ending.SERVED, 0.1), (Ending.TIMEOUT, 30.0)]:
        tally.ended(ending, seconds, tally.sent(again=ending is Ending.TIMEOUT))
    tally.planned, tally.in_flight, tally.waited, tally.rest = 1, 7, 2, 4.5
    return tally


def test_it_counts_attempts_and_the_time_of_what_was_served() -> None:
    tally = busy()
    assert (tally.first, tally.retries, tally.judged, tally.failures) == (2, 1, 3, 1)
    assert (tally.timed, tally.seconds, tally.slowest) == (2, pytest.approx(0.3), 30.0)


@pytest.mark.parametrize(
    ("ending", "judged", "failures", "signs"),
    [
        (Ending.SERVED, 1, 0, 0),
        (Ending.FAILED, 1, 1, 0),
        (Ending.TIMEOUT, 1, 1, 1),
        (Ending.INTERRUPTED, 1, 1, 0),
        (Ending.OVERLOADED, 1, 1, 1),
        (Ending.REFUSED, 0, 0, 1),
        (Ending.CONNECT, 0, 0, 0),
        (Ending.PLAIN, 1, 0, 0),
    ],
)
def test_what_an_ending_says_of_the_service(ending: Ending, judged: int, failures: int, signs: int) -> None:
    tally = Tally()
    tally.ended(ending, 1.0, 0)
    assert (tally.judged, tally.failures, tally.signs_of_load) == (judged, failures, signs)
    assert tally.answers == (ending is not Ending.CONNECT)


def test_an_attempt_of_an_earlier_era_is_counted_but_not_judged() -> None:
    tally = Tally()
    era = tally.sent(again=False)
    tally.turn(1)
    tally.ended(Ending.TIMEOUT, 30.0, era)
    assert (tally.judged, tally.failures, tally.signs_of_load) == (0, 0, 1)


def test_a_new_era_forgets_what_was_judged_and_nothing_else() -> None:
    tally = busy()
    tally.turn(3)
    assert tally == busy()
    tally.turn(4)
    assert tally.count(Ending.TIMEOUT) == 1
    assert (tally.judged, tally.failures, tally.first, tally.timed) == (0, 0, 2, 2)


def test_sums_of_replicas_are_sums_and_extremes_are_extremes() -> None:
    other = Tally(era=3)
    other.ended(Ending.SERVED, 0.05, 3)
    other.rest, other.in_flight = 5.0, 1
    tally = busy()
    tally.add(other)
    assert (tally.judged, tally.timed, tally.in_flight, tally.waited) == (4, 3, 8, 2)
    assert (tally.slowest, tally.rest) == (30.0, 5.0)
    assert tally.ends[Ending.SERVED] == 3


def test_a_replica_that_lags_behind_an_era_is_not_judged_with_the_others() -> None:
    late, ahead = busy(), Tally(era=4)
    ahead.ended(Ending.SERVED, 0.1, 4)
    for total, other in ((busy(), ahead), (ahead, late)):
        total.add(other)
        assert (total.era, total.judged, total.failures, total.timed) == (4, 1, 0, 3)


def test_it_travels_as_a_small_mapping_of_numbers() -> None:
    assert Tally().encode() == {}
    said = busy().encode()
    assert said["served"] == 2
    assert all(isinstance(value, int | float) for value in said.values())
    assert Tally.decode(said) == busy()
    late = busy()
    late.turn(4)
    assert Tally.decode(late.encode()) == late


@pytest.mark.parametrize("value", [-1, math.inf, math.nan, True, "3", None])
def test_what_cannot_be_a_count_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="first"):
        Tally.decode({"first": value})  # type: ignore[dict-item]


def test_names_of_a_newer_version_are_skipped() -> None:
    assert Tally.decode({"novelty": 4, "first": 2}).first == 2


def test_it_shows_its_numbers() -> None:
    tally = Tally()
    tally.sent(again=False)
    assert repr(tally) == "<Tally {'first': 1}>"


def test_what_did_not_go_out_after_all_was_not_sent() -> None:
    tally = Tally()
    for again in (False, True):
        tally.sent(again=again)
        tally.unsent(again=again)
    assert (tally.first, tally.retries) == (0, 0)
