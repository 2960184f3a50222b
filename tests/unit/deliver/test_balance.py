"""Round robin, and who is passed over."""

from __future__ import annotations

from bufferproxy.deliver.balance import RESTS, Balance


def firsts(balance: Balance, now: float, count: int) -> list[int]:
    return [balance.order(now)[0] for _ in range(count)]


def test_targets_take_turns() -> None:
    assert firsts(Balance(3), 0.0, 6) == [0, 1, 2, 0, 1, 2]


def test_each_order_goes_round_once() -> None:
    balance = Balance(3)
    assert [balance.order(0.0) for _ in range(3)] == [[0, 1, 2], [1, 2, 0], [2, 0, 1]]


def test_one_that_failed_is_passed_over_while_others_work() -> None:
    balance = Balance(3)
    balance.failed(1, 10.0)
    assert set(firsts(balance, 10.0 + RESTS - 0.1, 30)) == {0, 2}


def test_after_its_rest_one_caller_tries_it_and_the_others_do_not() -> None:
    balance = Balance(2)
    balance.failed(0, 0.0)
    assert firsts(balance, RESTS, 10).count(0) == 1


def test_one_that_works_again_takes_turns_again() -> None:
    balance = Balance(2)
    balance.failed(0, 0.0)
    balance.worked(0)
    assert firsts(balance, 0.1, 4) == [0, 1, 0, 1]


def test_when_all_failed_each_may_be_tried() -> None:
    balance = Balance(2)
    balance.failed(0, 0.0)
    balance.failed(1, 0.0)
    assert sorted(balance.order(1.0)) == [0, 1]


def test_a_single_target_is_never_passed_over() -> None:
    balance = Balance(1)
    for moment in range(20):
        assert balance.order(float(moment)) == [0]
        balance.failed(0, float(moment))
