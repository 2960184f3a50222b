from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufferproxy.log.marks import MOST, Marks, Tried, decode, encode


@st.composite
def marks(draw: st.DrawFn) -> tuple[Marks, int]:
    committed = draw(st.integers(0, 1 << 40))
    at, done = committed, []
    for open_, length in draw(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), max_size=40)):
        done.append((at + open_, at + open_ + length))
        at = done[-1][1]
    begun = committed + draw(st.integers(0, 10_000))
    tried, at = [], committed - 1
    for distance, number in draw(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 200)), max_size=30)):
        at += distance
        due_at = draw(st.integers(0, 20_000_000_000)) * 100
        tried.append(Tried(at, number, draw(st.integers(0, number)), due_at))
    return Marks(draw(st.integers(0, 9)), begun, tuple(done), tuple(tried)), committed


@given(marks())
def test_what_is_told_is_what_was_meant(case: tuple[Marks, int]) -> None:
    told, committed = case
    assert decode(encode(told, committed), committed) == (told if told != Marks(begun=committed) else Marks())


def test_what_does_not_fit_is_dropped_from_the_far_end() -> None:
    runs = tuple((n * 1000, n * 1000 + 500) for n in range(1, 5000))
    text = encode(Marks(1, 7, runs), 0)
    assert len(text) <= MOST
    found = decode(text, 0)
    assert found.done == runs[: len(found.done)]
    assert len(found.done) > 500


def test_of_what_was_tried_the_nearest_are_told() -> None:
    runs = tuple((n * 1000, n * 1000 + 500) for n in range(1, 5000))
    tried = tuple(Tried(n * 50, 3, 3, 1_795_690_000_000 + n * 100) for n in range(1000))
    text = encode(Marks(1, 7, runs, tried), 0)
    assert len(text) < 4096, "Kafka's limit"
    found = decode(text, 0)
    assert found.tried == tried[: len(found.tried)]
    assert len(found.tried) > 100
    assert found.done == runs[: len(found.done)]


def test_nobody_is_due_too_early() -> None:
    tried = (Tried(9, 1, 1, 12_301), Tried(10, 1, 1, 12_399))
    assert [one.due_at for one in decode(encode(Marks(tried=tried), 9), 9).tried] == [12_400, 12_400]


def test_nothing_to_tell_is_an_empty_string() -> None:
    assert encode(Marks(begun=5), 5) == ""


@pytest.mark.parametrize(
    "text",
    ["", "2;AAAA", "1;", "1;A", "1;gICA", "1;AAAA", "1;\u00e9", "something else", "1;AQU=;AQI=", "1;AQU=;A"],
)
def test_whatever_cannot_be_understood_leaves_everything_open(text: str) -> None:
    assert decode(text, 9) == Marks()


def test_it_reads_as_written_in_the_first_version() -> None:
    """Commits outlive versions of this code."""
    text = "1;AQUCA6wCAQ=="
    assert decode(text, 100) == Marks(1, 105, ((102, 105), (405, 406)))
    assert encode(decode(text, 100), 100) == text
    text = "1;AQUCA6wCAQ==;gLf3okIAAQIKAwEBAA=="
    assert decode(text, 100) == Marks(
        1,
        105,
        ((102, 105), (405, 406)),
        (Tried(100, 1, 2, 1_779_000_001_000), Tried(103, 1, 1, 1_779_000_000_000)),
    )
    assert encode(decode(text, 100), 100) == text
