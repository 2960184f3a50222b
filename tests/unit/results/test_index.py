from __future__ import annotations

import pytest

from bufferproxy.records import Partition, Position, State
from bufferproxy.results.index import Row, settled, standing

ANSWER = Row("a", State.DELIVERED, 5, 1, 1, Position(Partition("p.a.results", 0), 7), None, None, None)
STEP = ANSWER._replace(state=State.RETRYING, reply=None, error="503")
DEAD = STEP._replace(state=State.DEAD, error="8 attempts")
POINTER = ANSWER._replace(reply=None)


@pytest.mark.parametrize(
    "told",
    [
        None,
        STEP._replace(at=9),
        POINTER,
        POINTER._replace(at=9),  # by a clock that is ahead, or of an answer that is not read yet
        DEAD._replace(at=4),
        DEAD,
    ],
)
def test_the_answer_holds(told: Row | None) -> None:
    assert settled(told, ANSWER) == ANSWER


def test_an_end_without_an_answer_that_came_later_holds() -> None:
    later = DEAD._replace(at=6)
    assert settled(later, ANSWER) == later


def test_in_states_what_is_told_last_holds_but_a_step_never_replaces_an_end() -> None:
    assert standing(None, STEP) == STEP
    assert standing(STEP, STEP._replace(error="504")).error == "504"
    assert standing(STEP, DEAD) == DEAD
    assert standing(DEAD, STEP) == DEAD
    assert standing(DEAD, POINTER) == POINTER
