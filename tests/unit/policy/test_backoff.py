from __future__ import annotations

import pytest

from bufferproxy.policy.backoff import backoff


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (5000, 300)])
def test_the_wait_doubles_up_to_its_cap(attempt: int, seconds: float) -> None:
    assert backoff(attempt, first=1.0, max=300.0, jitter="none", random=0.3) == seconds


def test_full_jitter_takes_a_random_part_of_it() -> None:
    assert backoff(3, first=1.0, max=300.0, jitter="full", random=0.25) == 1.0
    assert backoff(3, first=1.0, max=300.0, jitter="full", random=0.0) == 0.0


def test_a_cap_below_the_first_wait_holds() -> None:
    assert backoff(1, first=10.0, max=3.0, jitter="none", random=0.0) == 3.0
