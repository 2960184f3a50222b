"""Who needs less than its due gets that, the others share the rest, and together they keep the bound."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufferproxy.policy.bucket import WINDOW
from bufferproxy.rate.shares import (
    NOTHING,
    Ceiling,
    Need,
    Part,
    fair,
    fair_whole,
    most_holders,
    targets,
    within,
)

NAMES = st.sampled_from("abcdefgh")
CEILINGS = st.builds(Ceiling, st.floats(0.5, 2000.0), st.integers(1, 12), st.integers(1, 40))
PARTS = st.builds(Part, st.floats(0.0, 500.0), st.integers(0, 5), st.integers(0, 20))
NEEDS = st.builds(Need, st.floats(1.0, 12.0), st.floats(0.0, 3000.0), st.integers(1, 100))


@pytest.mark.parametrize(
    ("rate", "burst", "concurrency", "most"),
    [(2, 1, 20, 1), (20, 1, 20, 1), (500, 1, 20, 3), (500, 1, 2, 2), (20, 5, 20, 5), (math.inf, 1, 20, 20)],
)
def test_so_many_may_hold_a_share_at_once(rate: float, burst: int, concurrency: int, most: int) -> None:
    assert most_holders(Ceiling(rate, burst, concurrency)) == most


def test_who_wants_little_gets_it_and_the_rest_is_shared_by_weight() -> None:
    assert fair(100.0, {"a": (1, 10.0), "b": (1, 500.0), "c": (2, 500.0)}) == {
        "a": 10.0,
        "b": 30.0,
        "c": 60.0,
    }


@given(
    st.floats(0.0, 1e4), st.dictionaries(NAMES, st.tuples(st.floats(0.5, 50), st.floats(0, 1e4)), min_size=1)
)
def test_nobody_could_have_more_without_who_has_no_more_by_weight_having_less(
    capacity: float, wants: dict[str, tuple[float, float]]
) -> None:
    given_ = fair(capacity, wants)
    assert sum(given_.values()) <= capacity + 1e-6
    short = {who for who, (_, demand) in wants.items() if given_[who] < demand - 1e-6}
    if short:
        assert sum(given_.values()) >= capacity - 1e-6
        level = min(given_[who] / wants[who][0] for who in short)
        assert all(given_[who] / weight <= level + 1e-6 for who, (weight, _) in wants.items())


@given(
    st.integers(1, 60), st.dictionaries(NAMES, st.tuples(st.floats(0.5, 50), st.integers(0, 100)), min_size=1)
)
def test_whole_numbers_are_all_given_and_everybody_has_one(
    capacity: int, wants: dict[str, tuple[float, int]]
) -> None:
    given_ = fair_whole(capacity, wants)
    if capacity >= len(wants):
        assert sum(given_.values()) == capacity
        assert min(given_.values()) >= 1


@given(CEILINGS, st.dictionaries(NAMES, NEEDS, min_size=1))
def test_targets_use_all_there_is_within_the_bound(ceiling: Ceiling, needs: dict[str, Need]) -> None:
    needs = dict(list(needs.items())[: most_holders(ceiling)])
    parts = targets(ceiling, needs).values()
    excess = max(0, sum(part.tokens for part in parts) - ceiling.burst)
    assert sum(part.rate for part in parts) == pytest.approx(ceiling.rate - excess / WINDOW)
    assert sum(part.concurrency for part in parts) == ceiling.concurrency
    assert all(part.tokens >= 1 and part.concurrency >= 1 for part in parts)


def bound(ceiling: Ceiling, parts: list[Part], recent: int) -> tuple[float, int]:
    """By how much rate and concurrency are too high."""
    tokens = max(recent, sum(part.tokens for part in parts))
    allowed = ceiling.rate - max(0, tokens - ceiling.burst) / WINDOW
    return (
        max(0.0, sum(part.rate for part in parts) - allowed),
        max(0, sum(part.concurrency for part in parts) - ceiling.concurrency),
    )


@given(CEILINGS, st.dictionaries(NAMES, PARTS), st.dictionaries(NAMES, NEEDS, max_size=6), st.integers(0, 20))
def test_what_is_granted_beside_what_may_still_be_held_breaks_no_bound(
    ceiling: Ceiling, held: dict[str, Part], needs: dict[str, Need], recent: int
) -> None:
    granted = within(ceiling, targets(ceiling, needs), held, recent)
    after = [
        Part(*map(max, held.get(name, NOTHING), granted.get(name, NOTHING)))
        for name in held.keys() | granted.keys()
    ]
    before = bound(ceiling, list(held.values()), recent)
    rate, concurrency = bound(ceiling, after, recent)
    assert rate <= before[0] + 1e-6
    assert concurrency <= before[1]
    most = {name: Part(*map(max, held.get(name, NOTHING), part)) for name, part in granted.items()}
    for name, part in granted.items():
        others = {**held, **most} | {name: part._replace(tokens=most[name].tokens)}
        over, _ = bound(ceiling, list(others.values()), recent)
        assert over <= 1e-6, "what it held before may have run out: the grant alone must fit"


def test_what_may_have_run_out_is_not_brought_back_on_top_of_what_others_hold() -> None:
    """Of a leader that has read late: what it believes to be held is more than there is."""
    held = {"stale": Part(240.0, 1, 7), "live": Part(403.0, 1, 9)}
    wanted = targets(Ceiling(500.0, 2, 20), {name: Need(1, 500.0, 10) for name in held})
    granted = within(Ceiling(500.0, 2, 20), wanted, held, 0)
    assert granted["stale"].rate == 97.0
    assert granted["live"].rate == 250.0


def test_an_unlimited_rate_is_shared_by_concurrency_alone() -> None:
    ceiling = Ceiling(math.inf, 1, 5)
    wanted = targets(ceiling, {name: Need(1, math.inf, 10) for name in "abc"})
    granted = within(ceiling, wanted, {"d": Part(math.inf, 1, 2)}, 0)
    assert all(part.rate == math.inf for part in granted.values())
    assert sum(part.concurrency for part in granted.values()) == 3


def test_from_unlimited_to_a_rate_nobody_begins_before_who_held_it_confirms() -> None:
    wanted = targets(Ceiling(100.0, 5, 5), {name: Need(1, 100.0, 1) for name in "ab"})
    granted = within(Ceiling(100.0, 5, 5), wanted, {"a": Part(math.inf, 1, 2)}, 0)
    assert granted == {"a": Part(50.0, 3, 3)}
