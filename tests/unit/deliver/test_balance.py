"""Round robin over two levels, and who is left out."""

from __future__ import annotations

import pytest

from bufferproxy.deliver.balance import FIRST_LEFT_OUT_SECONDS, LONGEST_LEFT_OUT_SECONDS, RoundRobin


def of(*groups: str) -> RoundRobin[str]:
    """A group for each text, a member for each of its letters."""
    turns: RoundRobin[str] = RoundRobin(len(groups))
    for number, members in enumerate(groups):
        for member in members:
            turns.add(number, member)
    return turns


def take(turns: RoundRobin[str], count: int) -> str:
    taken = []
    for _ in range(count):
        member = turns.first()
        assert member is not None
        taken.append(member)
        turns.advance()
    return "".join(taken)


@pytest.mark.parametrize(
    ("groups", "taken"),
    [
        (["a"], "aaaa"),
        (["abc"], "abcabc"),
        (["a", "x"], "axaxax"),
        (["ab", "x"], "axbxaxbx"),
        (["ab", "xyz"], "axbyazbxaybz"),
        (["a", "", "x"], "axax"),
    ],
)
def test_groups_take_turns_and_in_each_its_members(groups: list[str], taken: str) -> None:
    assert take(of(*groups), len(taken)) == taken


def test_a_turn_is_over_only_when_it_was_taken() -> None:
    turns = of("ab")
    assert [turns.first(), turns.first()] == ["a", "a"]


@pytest.mark.parametrize(
    ("groups", "orders"),
    [
        (["abc"], ["abc", "bca", "cab", "abc"]),
        (["ab", "xyz"], ["axbyz", "xbyaz", "byazx"]),
    ],
)
def test_an_order_begins_with_the_turn_and_goes_round_once(groups: list[str], orders: list[str]) -> None:
    turns = of(*groups)
    assert ["".join(turns.order()) for _ in orders] == orders


def test_one_that_failed_is_passed_over_while_others_work() -> None:
    turns = of("abc")
    assert turns.failed("b", 10.0)
    assert take(turns, 4) == "acac"
    assert sorted(turns.order()) == ["a", "c"]


def test_a_group_all_of_whose_members_failed_has_no_turn() -> None:
    turns = of("ab", "x")
    turns.failed("a", 0.0)
    turns.failed("b", 0.0)
    assert take(turns, 3) == "xxx"
    turns.worked("b")
    assert take(turns, 4) in {"xbxb", "bxbx"}


def test_when_all_failed_each_may_be_tried() -> None:
    turns = of("a", "x")
    turns.failed("x", 0.0)
    turns.failed("a", 0.1)
    assert turns.first() is None
    assert turns.order() == ["x", "a"]


def test_when_its_time_is_over_one_trial_is_made_and_the_others_go_on_without_it() -> None:
    turns = of("ab")
    turns.failed("a", 0.0)
    assert turns.trials(FIRST_LEFT_OUT_SECONDS - 0.1) == []
    assert turns.trials(FIRST_LEFT_OUT_SECONDS) == ["a"]
    assert turns.trials(1000.0) == []
    assert take(turns, 2) == "bb"


def test_one_that_works_again_takes_turns_again() -> None:
    turns = of("ab")
    turns.failed("a", 0.0)
    assert turns.worked("a")
    assert not turns.worked("a"), "that is no news"
    assert sorted(take(turns, 4)) == ["a", "a", "b", "b"]


def test_each_failed_trial_doubles_the_time_up_to_the_longest_and_one_that_works_forgets_it() -> None:
    turns = of("ab")
    now, waits = 0.0, []
    turns.failed("a", now)
    for _ in range(8):
        start = now
        while not turns.trials(now):
            now += 0.5
        waits.append(now - start)
        assert not turns.failed("a", now), "that is no news"
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert waits[-1] == LONGEST_LEFT_OUT_SECONDS
    turns.worked("a")
    turns.failed("a", now)
    assert turns.trials(now + FIRST_LEFT_OUT_SECONDS) == ["a"]


def test_failures_of_one_moment_are_one_step() -> None:
    turns = of("ab")
    assert turns.failed("a", 0.0)
    for _ in range(5):
        assert not turns.failed("a", 0.01)
    assert turns.trials(FIRST_LEFT_OUT_SECONDS) == ["a"]


def test_one_in_doubt_is_left_out_until_it_is_known() -> None:
    turns = of("ab")
    turns.doubt("a")
    assert take(turns, 2) == "bb"
    assert turns.trials(1e9) == [], "somebody tries it already"
    turns.doubt("a")
    assert not turns.worked("a"), "it had not failed"
    assert sorted(take(turns, 2)) == ["a", "b"]
    turns.doubt("a")
    assert turns.failed("a", 5.0)
    assert turns.trials(5.0 + FIRST_LEFT_OUT_SECONDS) == ["a"]


def test_one_that_was_removed_is_not_brought_back_by_what_comes_late() -> None:
    turns = of("ab")
    turns.failed("b", 0.0)
    for member in "ab":
        turns.remove(member)
        turns.doubt(member)
        assert not turns.failed(member, 1.0)
        assert not turns.worked(member)
    assert turns.first() is None
    assert turns.order() == []
    assert len(turns) == 0


def test_the_live_numbers_are_in_its_text() -> None:
    turns = of("abc")
    turns.failed("a", 0.0)
    assert repr(turns) == "<RoundRobin members=3 left_out=1>"
