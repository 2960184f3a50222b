"""What a power loss may leave, it leaves for some seed; what it may not, for none."""

from __future__ import annotations

import random
from itertools import product

import pytest

from bufferproxy.testing.power_loss import SECTOR, Disk, Names, State, states
from bufferproxy.testing.strace import Make, Operation, Remove, Resize, Say, Sync, Write

MANY = 1000
NAMED = (Make("f", folder=False), Sync(".", 1))
"""An empty file whose name is durable."""
A, B = b"a" * SECTOR, b"b" * SECTOR
ZERO = bytes(SECTOR)


def left(*operations: Operation) -> list[Names]:
    """When all of it was done."""
    disk = Disk()
    for number, operation in enumerate(operations):
        disk.take(number, operation)
    return [disk.lose_power(random.Random(seed))[0] for seed in range(MANY)]


def files(*operations: Operation) -> set[bytes | None]:
    """All that may be left of `f`; None: it is not there."""
    return {names.get("f") for names in left(*operations)}


def test_what_is_synced_with_its_name_is_there() -> None:
    assert files(*NAMED, Write("f", 0, A), Write("f", 700, B), Resize("f", 800), Sync("f", 5)) == {
        (A + bytes(188) + B)[:800]
    }


def test_what_is_not_synced_is_there_or_not_whatever_came_after_it() -> None:
    old = (Write("f", 0, ZERO * 2), Sync("f", 3))
    assert files(*NAMED, *old, Write("f", 0, A), Write("f", SECTOR, B)) == {
        first + second for first, second in product((ZERO, A), (ZERO, B))
    }


def test_a_write_is_torn_between_sectors_and_nowhere_else() -> None:
    old = (Write("f", 0, ZERO * 3), Sync("f", 3))
    assert files(*NAMED, *old, Write("f", 0, A * 3)) == {
        b"".join(sectors) for sectors in product((ZERO, A), repeat=3)
    }


def test_a_sector_is_as_it_was_after_one_of_its_writes() -> None:
    old = (Write("f", 0, b"----"), Sync("f", 3))
    writes = (Write("f", 0, b"a"), Write("f", 1, b"b"), Write("f", 0, b"c"))
    assert files(*NAMED, *old, *writes) == {b"----", b"a---", b"ab--", b"cb--"}


def test_a_size_may_be_there_without_its_bytes_and_bytes_without_the_size() -> None:
    assert files(*NAMED, Write("f", 0, A), Sync("f", 3), Write("f", SECTOR, B)) == {A, A + ZERO, A + B}


def test_a_file_is_cut_or_not() -> None:
    old = (Write("f", 0, A + B), Sync("f", 3))
    assert files(*NAMED, *old, Resize("f", SECTOR)) == {A + B, A}


def test_a_sync_covers_nothing_that_came_while_it_went_on() -> None:
    assert files(*NAMED, Write("f", 0, b"a"), Write("f", 0, b"b"), Sync("f", 3)) == {b"a", b"b"}


def test_a_name_is_there_for_sure_when_its_folder_was_synced_and_not_when_the_file_was() -> None:
    made, written = Make("f", folder=False), Write("f", 0, A)
    assert files(made, written, Sync("f", 2)) == {None, A}
    assert files(made, written, Sync("f", 2), Sync(".", 3)) == {A}
    assert files(made, written, Sync("f", 2), Sync(".", 0)) == {None, A}


def test_a_name_that_was_taken_away_may_be_there_still() -> None:
    old = (Write("f", 0, A), Sync("f", 3))
    assert files(*NAMED, *old, Remove("f")) == {None, A}
    assert files(*NAMED, *old, Remove("f"), Sync(".", 5)) == {None}
    again = (Make("f", folder=False), Write("f", 0, B), Sync("f", 7))
    assert files(*NAMED, *old, Remove("f"), *again) == {None, A, B}
    assert files(*NAMED, *old, Remove("f"), *again, Sync(".", 8)) == {B}


def test_with_the_name_of_a_folder_all_that_lies_in_it_is_gone() -> None:
    made = (Make("d", folder=True), Make("d/e", folder=True), Make("d/e/f", folder=False))
    inner = (Sync("d", 3), Sync("d/e", 3))
    everything = {"d": None, "d/e": None, "d/e/f": b""}
    assert left(*made, *inner, Sync(".", 3)) == [everything] * MANY
    found = left(*made, *inner)
    assert all(names in ({}, everything) for names in found)
    assert {} in found
    assert everything in found


def test_the_same_seed_makes_the_same_state_whatever_other_seeds_there_are() -> None:
    operations = [*NAMED, *(Write("f", 300 * n, A * 3) for n in range(20)), Say("done")]
    many = {state.seed: state for state in states(operations, range(MANY))}
    assert many.keys() == set(range(MANY))
    for seed in (0, 7, 999):
        assert [*states(operations, [seed])] == [many[seed]]


def test_power_is_lost_at_every_point_and_only_what_was_said_before_it_counts() -> None:
    operations = [Say("one"), *NAMED, Say("two")]
    found = {state.point: list(state.said) for state in states(operations, range(100))}
    assert found == {0: [], 1: ["one"], 2: ["one"], 3: ["one"], 4: ["one", "two"]}


def test_a_state_tells_where_it_is_from() -> None:
    state = State(7, 12, {"writes lost": 3, "names kept": 1}, (), {})
    assert str(state) == "seed 7: after 12 operations; names kept 1, writes lost 3"
    assert str(state._replace(fates={})) == "seed 7: after 12 operations; all synced"


def test_a_folder_is_not_written_to() -> None:
    with pytest.raises(AssertionError, match="d is a folder"):
        left(Make("d", folder=True), Write("d", 0, A))
