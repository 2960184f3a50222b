from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bufferproxy.log.kafka.watch import EVERY, FENCED, JOINING, STUCK, Seen, Watch
from bufferproxy.records import Partition

if TYPE_CHECKING:
    from collections.abc import Callable

P, Q = Partition("t", 0), Partition("t", 1)


def seen(
    *, stable: bool = True, beating: bool = True, served: bool = True, **reading: int
) -> Callable[[float], Seen]:
    places = {"p": P, "q": Q}
    look = Seen(stable, beating, served, {places[name]: offset for name, offset in reading.items()})
    return lambda _: look


def first_alarm(
    look: Callable[[float], Seen], ends: dict[Partition, int], until: float = 200.0
) -> tuple[float, str] | None:
    watch, now = Watch(), 0.0
    while now <= until:
        said = watch.look(now, look(now), ends)
        if said is not None:
            return now, said
        now += EVERY
    return None


def test_a_record_that_does_not_come_is_told_of() -> None:
    assert first_alarm(seen(p=5, q=3), {P: 7, Q: 3}) == (STUCK, f"nothing came of 2 records of {P}, for 10 s")


@pytest.mark.parametrize(
    ("look", "ends"),
    [
        pytest.param(seen(p=7), {P: 7}, id="nothing is there"),
        pytest.param(seen(), {P: 7}, id="it is paused or not held"),
        pytest.param(seen(p=5, served=False), {P: 7}, id="nobody takes what it has"),
        pytest.param(seen(p=5), {}, id="its end is not known"),
        pytest.param(lambda now: seen(p=int(now))(now), {P: 10_000}, id="it comes slowly"),
        pytest.param(lambda now: seen(p=5, served=now % 10 < 5)(now), {P: 7}, id="it is taken now and then"),
    ],
)
def test_it_is_silent_when(look: Callable[[float], Seen], ends: dict[Partition, int]) -> None:
    assert first_alarm(look, ends) is None


def test_a_join_that_never_ends_is_told_of() -> None:
    assert first_alarm(seen(stable=False), {}) == (JOINING, "it has not joined its group, for 60 s")


def test_a_member_whose_place_another_has_taken_is_told_of() -> None:
    found = first_alarm(seen(beating=False, p=5), {P: 5})
    assert found is not None
    assert found[0] == FENCED
    assert "`worker.id` must be its own" in found[1]


def test_a_rebalance_starts_the_patience_with_partitions_anew() -> None:
    def look(now: float) -> Seen:
        return seen(stable=now % 10 >= 2.5, p=5)(now)

    assert first_alarm(look, {P: 7}) is None


def test_what_was_seen_before_a_suspension_counts_for_nothing() -> None:
    watch, look = Watch(), seen(p=5)(0.0)
    assert watch.look(0.0, look, {P: 7}) is None
    assert watch.look(3600.0, look, {P: 7}) is None
    for now in (3602.5, 3605.0, 3607.5):
        assert watch.look(now, look, {P: 7}) is None
    assert watch.look(3610.0, look, {P: 7}) is not None
