from __future__ import annotations

from bufferproxy.policy.sliding import Sliding


def test_it_adds_up_what_lies_within_the_window_and_forgets_the_rest() -> None:
    sums = Sliding(10.0)
    sums.add(0.5, 1, 2)
    sums.add(0.6, 1, 2)
    sums.add(5.0, 3, 4)
    assert sums.sums(9.9) == (5, 8)
    assert sums.sums(10.0) == (3, 4)
    assert sums.sums(15.0) == (0, 0)


def test_it_keeps_no_more_slices_than_the_window_has() -> None:
    sums = Sliding(1.0)
    for step in range(10_000):
        sums.add(step * 0.01, 1, 1)
    assert len(sums._slices) <= 10
    assert sums.sums(100.0)[1] <= 100


def test_cleared_it_begins_anew_and_shows_its_numbers() -> None:
    sums = Sliding(10.0)
    sums.add(1.0, 1, 3)
    assert repr(sums) == "<Sliding 1 of 3 in 10 s>"
    sums.clear()
    assert sums.sums(1.0) == (0, 0)
