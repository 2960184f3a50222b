"""Records that were stored together, as bytes and back.

A batch has three parts. `names`: the header names that occur in it, each once, with its length (2 bytes,
big-endian) before it. `layout`: unsigned 32-bit numbers, little-endian; of n records with h headers in all
first n sizes of values, n sizes of keys plus one (0: no key), n numbers of headers, then h places in `names`,
h sizes of header values. `fields`: all values, then all keys, then all header values.

Everything lies by kind and not by record, so that hardly a step of Python is taken for a single field.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from itertools import chain, count, repeat
from typing import NamedTuple, TypeVar

from bufferproxy.records import Entry, Headers, Partition, Record

NUMBER = 4
"""Bytes of a number in `layout`."""

_S = TypeVar("_S", bytes, tuple[tuple[str, bytes], ...])

_record: Callable[[Iterable[object]], Record] = partial(tuple.__new__, Record)
"""`Record._make` without its step of Python."""


class Packed(NamedTuple):
    names: bytes
    layout: bytes
    fields: bytes


def pack(entries: Sequence[Entry]) -> Packed:
    """At least one entry."""
    keys, values, headers = zip(*entries, strict=True)
    pairs = list(chain.from_iterable(headers))
    names, header_values = zip(*pairs, strict=True) if pairs else ((), ())
    distinct = tuple(dict.fromkeys(names))
    numbers = array("I", map(len, values))
    if keys.count(None) == len(keys):
        numbers.extend(repeat(0, len(keys)))
        keys = ()
    else:
        numbers.extend([0 if key is None else len(key) + 1 for key in keys])
        keys = tuple([key for key in keys if key is not None])
    numbers.extend(map(len, headers))
    numbers.extend(map(dict(zip(distinct, count(), strict=False)).__getitem__, names))
    numbers.extend(map(len, header_values))
    return Packed(_pack_names(distinct), _little(numbers).tobytes(), b"".join(values + keys + header_values))


Fields = tuple[Iterable[bytes | None], Iterable[bytes], Iterable[Headers]]
"""Keys, values and headers of some records."""


def unpack(packed: Packed, many: int, first: int, last: int) -> Fields:
    """The records from place `first` up to `last` (not included) of a batch of `many`."""
    numbers = _numbers(packed.layout)
    sizes, marks, counts = numbers[:many], numbers[many : 2 * many], numbers[2 * many : 3 * many]
    fields = packed.fields
    begin = sum(sizes)
    values = _cut(fields, sum(sizes[:first]), sizes[first:last])
    keys: Iterable[bytes | None] = repeat(None)
    if any(marks):
        lengths = [max(mark - 1, 0) for mark in marks]
        found = _cut(fields, begin + sum(lengths[:first]), lengths[first:last])
        keys = [key if mark else None for key, mark in zip(found, marks[first:last], strict=True)]
        begin += sum(lengths)
    return keys, values, _headers(packed, numbers[3 * many :], begin, counts, first, last)


def _headers(
    packed: Packed, numbers: array[int], begin: int, counts: array[int], first: int, last: int
) -> Iterable[Headers]:
    """`numbers` and the fields from `begin` on are those of the headers."""
    half = len(numbers) // 2
    left, right = sum(counts[:first]), sum(counts[:last])
    sizes = numbers[half:]
    values = _cut(packed.fields, begin + sum(sizes[:left]), sizes[left:right])
    names = _unpack_names(packed.names)
    places = numbers[left:right].tobytes()
    each, many = counts[first], last - first
    alike = counts[first:last].count(each) == many
    if each and alike and places == numbers[left : left + each].tobytes() * many:
        # As it mostly is, all of them have the same names: then a column of values has one name.
        column = [names[place] for place in numbers[left : left + each]]
        return zip(*[zip(repeat(name), values[at::each]) for at, name in enumerate(column)], strict=False)
    pairs = tuple(zip(map(names.__getitem__, numbers[left:right]), values, strict=True))
    return _cut(pairs, 0, counts[first:last])


def records(partition: Partition, offset: int, fields: Fields, appended_at: float) -> list[Record]:
    """From `offset` on, without gaps."""
    keys, values, headers = fields
    return list(
        map(
            _record,
            zip(repeat(partition), count(offset), keys, values, headers, repeat(appended_at), strict=False),
        )
    )


def sum_of(numbers: bytes) -> int:
    """Of a part of a layout."""
    return sum(_numbers(numbers))


def _cut(whole: _S, at: int, sizes: Iterable[int]) -> list[_S]:
    return [whole[at : (at := at + size)] for size in sizes]


def _numbers(packed: bytes) -> array[int]:
    return _little(array("I", packed))


def _little(numbers: array[int]) -> array[int]:
    if sys.byteorder != "little":
        numbers.byteswap()
    return numbers


@lru_cache(maxsize=256)
def _pack_names(names: tuple[str, ...]) -> bytes:
    encoded = [name.encode() for name in names]
    return b"".join([len(name).to_bytes(2, "big") + name for name in encoded])


@lru_cache(maxsize=256)
def _unpack_names(packed: bytes) -> tuple[str, ...]:
    names = []
    at = 0
    while at < len(packed):
        end = at + 2 + int.from_bytes(packed[at : at + 2], "big")
        names.append(packed[at + 2 : end].decode())
        at = end
    return tuple(names)
