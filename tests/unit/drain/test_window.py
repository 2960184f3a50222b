from __future__ import annotations

import pytest

from bufferproxy.drain.window import Window
from bufferproxy.log.marks import Marks


def window(*offsets: int, committed: int = 0) -> Window:
    opened = Window(committed, epoch=7)
    for offset in offsets:
        opened.begin(offset, offset + 1, size=10)
    return opened


def test_only_the_settled_prefix_can_be_committed() -> None:
    opened = window(0, 1, 2)
    assert opened.settle(1) is False
    assert opened.committable == 0
    assert opened.settle(0) is True
    assert opened.committable == 2
    assert opened.settle(2) is True
    assert opened.committable == 3


def test_gaps_between_offsets_are_crossed() -> None:
    opened = window(5, 9, 20, committed=3)
    assert opened.committable == 3
    opened.settle(5)
    assert opened.committable == 6
    opened.settle(20)
    opened.settle(9)
    assert opened.committable == 21


def test_it_counts_what_is_open_and_how_far_it_reaches() -> None:
    opened = window(0, 1, 2)
    opened.settle(1)
    assert (len(opened), opened.spread, opened.size) == (2, 3, 20)
    opened.settle(0)
    assert (len(opened), opened.spread, opened.size) == (1, 1, 10)


def test_what_is_settled_twice_is_a_mistake() -> None:
    opened = window(0)
    opened.settle(0)
    with pytest.raises(KeyError):
        opened.settle(0)


@pytest.mark.parametrize("offset", [4, 5])
def test_an_offset_that_does_not_rise_is_refused(offset: int) -> None:
    with pytest.raises(ValueError, match="came after 5"):
        window(5).begin(offset, offset + 1, 1)


def test_what_is_settled_already_cannot_take_the_commit_back() -> None:
    opened = window(5)
    opened.settle(5)
    with pytest.raises(ValueError, match="all below 6 is settled"):
        opened.begin(5, 6, 1)
    assert opened.committable == 6


def test_it_shows_its_numbers() -> None:
    assert repr(window(0, 1)) == "<Window committable=0 open=2 spread=2 epoch=7>"


def test_what_is_done_beyond_the_commit_is_told_and_not_opened_again() -> None:
    opened = window(0, 1, 2, 3, 7, 8)
    for offset in (1, 2, 7):
        opened.settle(offset)
        opened.sends(offset)
    assert opened.marks() == Marks(0, 8, ((1, 3), (7, 8)))
    again = Window(0, 8, opened.marks())
    assert [offset for offset in (0, 1, 2, 3, 7, 8) if again.begin(offset, offset + 1, 10)] == [0, 3, 8]
    assert len(again) == 3
    assert again.settle(0) is True
    assert again.committable == 3
    assert again.settle(3) is True
    assert again.committable == 8


def test_a_done_prefix_moves_the_commit_by_itself() -> None:
    again = Window(0, 1, Marks(0, 0, ((0, 2),)))
    assert again.begin(0, 1, 10) is False
    assert again.committable == 1
    assert again.begin(1, 2, 10) is False
    assert again.committable == 2


def test_what_the_holder_before_had_done_is_told_on_until_it_was_met() -> None:
    again = Window(0, 1, Marks(2, 9, ((1, 2), (5, 9))))
    again.starts = 2
    again.begin(0, 1, 10)
    assert again.marks() == Marks(2, 9, ((1, 2), (5, 9)))
    again.begin(1, 2, 10)
    again.begin(2, 3, 10)
    assert again.marks() == Marks(2, 9, ((1, 2), (5, 9)))
    again.begin(6, 7, 10)
    again.settle(2)
    assert again.marks().done == ((1, 7), (7, 9))


def test_a_send_only_moves_the_mark_forward() -> None:
    opened = window(4, 5)
    opened.sends(5)
    opened.sends(4)
    assert opened.begun == 6
