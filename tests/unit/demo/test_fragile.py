from __future__ import annotations

import pytest

from bufferproxy.demo.fragile import Crashed, Down, Fragile, Fragility, Full, Waiting, Working

SMALL = Fragility(connections=2, work=0.1, spread=0.2, crowd=2, backlog=4, endures=1.0, restart=2.0, cold=3.0)
EVEN = 0.5  # the middle of `spread`


def crowded() -> Fragile:
    """Two at work (1, 2), four waiting (3 to 6)."""
    fragile = Fragile(SMALL)
    for request in range(1, 7):
        fragile.arrive(request, 0.0, EVEN)
    return fragile


def test_the_capacity_is_what_its_connections_can_do_when_nobody_waits() -> None:
    assert SMALL.capacity == pytest.approx(20)
    assert Fragility().capacity == pytest.approx(100)


def test_who_finds_a_connection_is_worked_on_at_once() -> None:
    assert Fragile(SMALL).arrive(1, 0.0, EVEN) == Working(1, pytest.approx(0.1))


@pytest.mark.parametrize(("random", "seconds"), [(0.0, 0.08), (0.5, 0.1), (1.0, 0.12)])
def test_work_is_uneven_within_its_spread(random: float, seconds: float) -> None:
    assert Fragile(SMALL).arrive(1, 0.0, random) == Working(1, pytest.approx(seconds))


def test_without_a_free_connection_requests_wait_their_turn() -> None:
    fragile = Fragile(SMALL)
    fragile.arrive(1, 0.0, EVEN)
    fragile.arrive(2, 0.0, EVEN)
    assert fragile.arrive(3, 0.0, EVEN) == Waiting()
    assert fragile.arrive(4, 0.0, EVEN) == Waiting()
    upcoming = fragile.finish(2, 0.1, EVEN)
    assert upcoming is not None
    assert upcoming.request == 3


def test_those_who_wait_slow_down_those_who_are_worked_on() -> None:
    fragile = crowded()
    upcoming = fragile.finish(1, 0.1, EVEN)
    assert upcoming == Working(3, pytest.approx(0.1 * (1 + 3 / 2)))


def test_when_all_places_are_taken_it_answers_503() -> None:
    assert crowded().arrive(7, 0.5, EVEN) == Full()


def test_a_place_that_opens_for_a_moment_does_not_end_the_overload() -> None:
    fragile = crowded()
    assert fragile.arrive(7, 0.5, EVEN) == Full()
    fragile.finish(1, 0.6, EVEN)
    assert fragile.arrive(8, 0.7, EVEN) == Waiting()
    assert isinstance(fragile.arrive(9, 1.5, EVEN), Crashed)


def test_overload_that_passes_is_forgotten() -> None:
    fragile = crowded()
    assert fragile.arrive(7, 0.5, EVEN) == Full()
    for request in (1, 2, 3):
        fragile.finish(request, 0.6, EVEN)
    for request in (8, 9, 10):
        assert fragile.arrive(request, 0.7, EVEN) == Waiting()
    assert fragile.arrive(11, 5.0, EVEN) == Full()


def test_overload_that_lasts_loses_everything_that_was_there() -> None:
    fragile = crowded()
    fragile.arrive(7, 0.5, EVEN)
    crash = fragile.arrive(8, 1.5, EVEN)
    assert isinstance(crash, Crashed)
    assert sorted(crash.lost) == [1, 2, 3, 4, 5, 6, 8]
    assert (fragile.working, fragile.waiting) == (0, 0)


def test_after_a_crash_there_is_nobody_for_a_while_and_then_a_slow_start() -> None:
    fragile = crowded()
    fragile.arrive(7, 0.5, EVEN)
    fragile.arrive(8, 1.5, EVEN)
    assert fragile.arrive(9, 3.4, EVEN) == Down()
    assert fragile.arrive(10, 3.6, EVEN) == Working(10, pytest.approx(0.2))
    assert fragile.arrive(11, 6.6, EVEN) == Working(11, pytest.approx(0.1))
