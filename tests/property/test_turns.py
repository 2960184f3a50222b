from __future__ import annotations

from collections import Counter, deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bufferproxy.drain.turns import Turns

WEIGHTS = st.lists(st.integers(1, 20), min_size=1, max_size=5)


def queue(name: int, size: int) -> deque[int]:
    return deque([name] * size)


@settings(deadline=None)
@given(WEIGHTS, st.integers(1, 5))
def test_while_all_have_something_each_is_picked_by_its_weight_in_every_round(
    weights: list[int], rounds: int
) -> None:
    turns = Turns([queue(name, weight * rounds) for name, weight in enumerate(weights)], weights)
    for _ in range(rounds):
        picked = Counter(turns.popleft() for _ in range(sum(weights)))
        assert picked == dict(enumerate(weights))
    assert not turns


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=4),
    st.lists(st.integers(0, 3), max_size=60),
)
def test_nothing_is_lost_and_what_has_something_waits_for_no_more_than_two_rounds(
    queues: list[tuple[int, int]], coming: list[int]
) -> None:
    weights = [weight for weight, _ in queues]
    waiting = [queue(name, size) for name, (_, size) in enumerate(queues)]
    turns = Turns(waiting, weights)
    since = [0] * len(queues)
    while turns:
        if coming:
            name = coming.pop() % len(queues)
            waiting[name].append(name)
        size = len(turns)
        picked = turns.popleft()
        assert len(turns) == size - 1
        since = [0 if name == picked or not waiting[name] else n + 1 for name, n in enumerate(since)]
        assert max(since) <= 2 * sum(weights)


def test_of_equals_the_first_goes_first_and_nested_turns_keep_their_weights() -> None:
    inner = Turns([deque("aaaa"), deque("bbbb")], (1, 1))
    outer = Turns([inner, deque("cccc")], (2, 1))
    assert "".join(outer.popleft() for _ in range(6)) == "acbacb"
    assert repr(outer).startswith("<Turns (2, 1)")


def test_from_nothing_nothing_can_be_taken() -> None:
    with pytest.raises(IndexError):
        Turns([deque[int]()], (1,)).popleft()
