"""What travels in a commit beside its offset: what lies beyond it and is done. Pure.

    1;<base64 of varints: starts, begun, open, done, open, done, ...>

`starts`: how often the partition was taken over since something of it was settled, this time included; 0
when it was let go in order. `begun`: how far sends have begun, as a distance from the commit. Then, from the
commit on, lengths in offsets of what is open and what is done, by turns. At most 3 KiB: what does not fit is
dropped from the far end, and is sent again by whoever comes next.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import NamedTuple

VERSION = "1;"
MOST = 3072
"""Characters; Kafka's own limit (`offset.metadata.max.bytes`) is 4096."""

_BYTES = (MOST - len(VERSION)) // 4 * 3

Run = tuple[int, int]
"""Offsets from the first to before the second."""


class Marks(NamedTuple):
    """`begun`: every offset whose send has begun lies below. `done`: rising runs, none of them empty."""

    starts: int = 0
    begun: int = 0
    done: tuple[Run, ...] = ()


def encode(marks: Marks, committed: int) -> str:
    """`marks` for a commit of `committed`; the empty string when there is nothing to tell."""
    begun = max(0, marks.begun - committed)
    if not marks.starts and not begun and not marks.done:
        return ""
    packed = bytearray(_varint(marks.starts) + _varint(begun))
    at = committed
    for first, end in marks.done:
        run = _varint(first - at) + _varint(end - first)
        if len(packed) + len(run) > _BYTES:
            break
        packed += run
        at = end
    return VERSION + base64.b64encode(packed).decode()


def decode(text: str, committed: int) -> Marks:
    """The reverse of `encode`. Nothing, an unknown version or damage: all beyond the commit is open."""
    if not text.startswith(VERSION):
        return Marks()
    try:
        numbers = list(_numbers(base64.b64decode(text[len(VERSION) :], validate=True)))
    except (binascii.Error, ValueError):
        return Marks()
    if len(numbers) < 2 or len(numbers) % 2:
        return Marks()
    starts, begun, *lengths = numbers
    return Marks(starts, committed + begun, tuple(_runs(lengths, committed)))


def _runs(lengths: Iterable[int], at: int) -> Iterator[Run]:
    turns = iter(lengths)
    for open_, done in zip(turns, turns, strict=True):
        first = at + open_
        at = first + done
        yield first, at


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first (LEB128)."""
    packed = bytearray()
    while number > 0x7F:
        packed.append(number & 0x7F | 0x80)
        number >>= 7
    packed.append(number)
    return bytes(packed)


def _numbers(packed: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in packed:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number = shift = 0
    if shift:
        raise ValueError("the last number has no end")
