from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufferproxy.log.sqlite import batch_table, batches
from bufferproxy.log.sqlite.batches import NUMBER
from bufferproxy.records import Entry, Partition

PARTITION = Partition("bufferproxy.auth.requests", 0)

entries = st.builds(
    Entry,
    key=st.none() | st.binary(max_size=5),
    value=st.binary(max_size=20),
    headers=st.lists(
        st.tuples(st.sampled_from(["", "a", "b", "größe"]), st.binary(max_size=5)), max_size=4
    ).map(tuple),
)


@given(st.lists(entries, min_size=1, max_size=12), st.data())
def test_any_part_of_a_batch_comes_back_as_it_was(given: list[Entry], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(given) - 1))
    last = data.draw(st.integers(first + 1, len(given)))
    packed = batches.pack(given)
    fields = batches.unpack(packed, len(given), first, last)
    records = batches.records(PARTITION, 40 + first, fields, 1.5)
    assert [Entry(*record[2:5]) for record in records] == given[first:last]
    assert [record.offset for record in records] == list(range(40 + first, 40 + last))
    assert {(record.partition, record.appended_at) for record in records} == {(PARTITION, 1.5)}
    sizes = packed.layout[first * NUMBER : last * NUMBER]
    assert batches.sum_of(sizes) == sum(len(entry.value) for entry in given[first:last])


def test_headers_that_only_look_alike_are_told_apart() -> None:
    pair = ("name", b"v")
    for headers in ([(pair,), (pair, pair), ()], [(pair, pair), (pair,), (pair,) * 3], [(), (pair,)]):
        given = [Entry(None, b"", each) for each in headers]
        _, _, found = batches.unpack(batches.pack(given), len(given), 0, len(given))
        assert list(found) == headers


def test_the_bytes_are_those_that_are_documented() -> None:
    given = [
        Entry(None, b"one", (("name", b"v"),)),
        Entry(b"", b"", ()),
        Entry(b"k", b"three", (("b", b"ww"), ("name", b""))),
    ]
    names, layout, fields = batches.pack(given)
    assert names == b"\0\4name\0\1b"
    numbers = [3, 0, 5, 0, 1, 2, 1, 0, 2, 0, 1, 0, 1, 2, 0]
    assert layout == b"".join(number.to_bytes(4, "little") for number in numbers)
    assert fields == b"onethree" + b"k" + b"vww"


@pytest.mark.parametrize(
    ("sizes", "rows"),
    [
        ([1] * 256, [256]),
        ([1] * 257, [256, 1]),
        ([1 << 20], [1]),
        ([(1 << 20) + 1], [1]),
        ([1, 1 << 20], [1, 1]),
        ([1 << 20, 1], [1, 1]),
        ([1 << 19, 1 << 19, 1], [2, 1]),
        ([5 << 20, 5 << 20, 1, 1], [1, 1, 2]),
    ],
)
def test_a_row_is_bounded_in_records_and_in_bytes(sizes: list[int], rows: list[int]) -> None:
    given = [Entry(None, b"%d" % number, ()) for number in range(len(sizes))]
    parts = list(batch_table.rows_of(given, sizes))
    assert [len(part) for part in parts] == rows
    assert [entry for part in parts for entry in part] == given
