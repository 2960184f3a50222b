"""Whoever heard what was acknowledged complains when it is not there, and about nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bufferproxy.log.contract import Lag
from bufferproxy.log.sqlite import open_sqlite
from bufferproxy.records import Record
from bufferproxy.testing.busy_log import PLACES, entry_of, main, number_of, place_of, task_of
from bufferproxy.testing.log_witness import COMPACT, LATER, Witness, complaints

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO, THREE = (number_of(0, 0, task, 0) for task in range(3))
NEXT = ONE + 1
"""Appended after ONE, by the same."""
SAID = [
    *(f"appending {number}" for number in (ONE, TWO, NEXT, THREE)),
    *(f"stored {number} {offset}" for offset, number in enumerate((ONE, TWO, NEXT))),
]


def record(offset: int, number: int, place: int = 0) -> Record:
    return Record(PLACES[place], offset, *entry_of(number), 0.0)


def of_records(start: int, *numbers: int, said: list[str] = SAID) -> list[str]:
    end = start + len(numbers)
    records = [record(offset, number) for offset, number in enumerate(numbers, start)]
    return list(Witness(said).of_records(0, Lag(start, start, end, 0, 0), records))


def test_a_number_tells_where_it_belongs() -> None:
    for life, place, task in ((0, 0, 0), (2, 1, 3), (9, 2, 0)):
        number = number_of(life, place, task, 7)
        assert place_of(number) == place
        assert task_of(number) == task_of(number_of(life, place, task, 8)) != task_of(number + 1000)
    assert entry_of(ONE) != entry_of(TWO)


def test_nothing_is_wrong_with_what_was_acknowledged_or_begun_or_trimmed() -> None:
    assert of_records(0, ONE, TWO, NEXT) == []
    assert of_records(0, ONE, TWO, NEXT, THREE) == []
    assert of_records(2, NEXT) == []
    assert of_records(3) == []


@pytest.mark.parametrize(
    ("numbers", "complaint"),
    [
        ((ONE, TWO), f"{NEXT} was stored at 2, where None is: lost"),
        ((ONE, THREE, NEXT), f"{TWO} was stored at 1, where {THREE} is: lost"),
        ((ONE, TWO, NEXT, THREE + 1), f"{THREE + 1}, at 3, was never appended there"),
        ((ONE, TWO, NEXT, number_of(0, 1, 0, 0)), f"{number_of(0, 1, 0, 0)}, at 3, was never appended there"),
        ((ONE, TWO, NEXT, NEXT), f"0 appended one after the other, and is found as {[ONE, NEXT, NEXT]}"),
        ((NEXT, TWO, ONE), f"0 appended one after the other, and is found as {[NEXT, ONE]}"),
    ],
)
def test_what_is_lost_or_invented_or_twice_or_out_of_order_is_noticed(
    numbers: tuple[int, ...], complaint: str
) -> None:
    assert complaint in of_records(0, *numbers)


def test_a_record_that_has_changed_is_noticed() -> None:
    changed = record(0, ONE)._replace(key=b"another")
    found = list(Witness(SAID[:1]).of_records(0, Lag(0, 0, 1, 0, 0), [changed]))
    assert found == [f"{ONE}, at 0, is not what was appended"]


def test_a_hole_and_places_that_do_not_fit_are_noticed() -> None:
    records = [record(0, ONE), record(2, NEXT)]
    assert "records from 0 to 3 are [0, 2]" in Witness(SAID).of_records(0, Lag(0, 0, 3, 0, 0), records)
    lag = Lag(0, 1, 0, 0, 0)
    assert list(Witness([]).of_records(0, lag, [])) == [f"start, committed and end are {lag}"]


def test_a_commit_is_what_was_acknowledged_last_or_begun_since() -> None:
    said = ["committing 0 2 x", "committed 0 2 x", "committing 0 3 y", "committing 1 1 z"]
    witness = Witness(said)
    assert not [*witness.of_commit(0, (2, "x")), *witness.of_commit(0, (3, "y"))]
    assert not [*witness.of_commit(1, (0, "")), *witness.of_commit(1, (1, "z"))]
    for commit in ((0, ""), (2, "y"), (2, ""), (4, "y")):
        assert [one.endswith(": lost") for one in witness.of_commit(0, commit)] == [True]
    assert [*witness.of_commit(1, (1, ""))]


def test_of_a_key_the_newest_is_kept_and_only_that() -> None:
    numbers = [number_of(0, COMPACT, 0, nth) for nth in range(30)]
    first = numbers[0]
    again = next(number for number in numbers[1:] if entry_of(number).key == entry_of(first).key)
    said = [f"appending {first}", f"appending {again}", f"stored {first} 0"]
    lag = Lag(0, 0, 2, 0, 0)

    def found(*records: Record, more: str = "") -> list[str]:
        return list(Witness([*said, *filter(None, [more])]).of_records(COMPACT, lag, records))

    old, new = record(0, first, COMPACT), record(1, again, COMPACT)
    assert found(old) == found(new) == []
    assert [one.split(":")[0] for one in found(old, new)] == ["a key occurs twice"]
    assert [one.endswith(": lost") for one in found()] == [True]
    assert [one.endswith(": lost") for one in found(old, more=f"stored {again} 1")] == [True]


def test_what_was_not_agreed_upon_is_not_heard() -> None:
    with pytest.raises(ValueError, match="it said"):
        Witness(["stored nothing"])


async def test_all_that_was_said_of_a_log_is_found_in_it_and_what_was_not_said_is_noticed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.db"
    await main(path, 0)
    said = capfd.readouterr().out.splitlines()
    assert await complaints(path, said) == []
    invented = [number_of(LATER, place, 0, 0) for place in range(len(PLACES))]  # appended by that look
    found = await complaints(path, said)
    assert [one.partition(",")[0] for one in found if one.endswith("was never appended there")] == [
        str(number) for number in invented
    ]
    assert any(one.endswith(": lost") for one in await complaints(tmp_path / "another.db", said))


async def test_a_file_that_cannot_be_opened_is_a_complaint(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    await (await open_sqlite(path)).close()
    path.write_bytes(b"no database at all" * 1000)
    (complaint,) = await complaints(path, [])
    assert complaint.startswith("LogUnusable: ")
