"""What travels in a commit beside its offset: what lies beyond it and is done, or was tried. Pure.

    1;<base64 of varints: starts, begun, open, done, open, done, ...>
    1;<the same>;<base64 of varints: base, then distance, sends, attempts, due of each>

`starts`: how often the partition was taken over since something of it was settled, this time included; 0
when it was let go in order. `begun`: how far sends have begun, as a distance from the commit. Then, from the
commit on, lengths in offsets of what is open and what is done, by turns. At most 3 KiB: what does not fit is
dropped from the far end, and is sent again by whoever comes next.

The second part is of those that keep their place between two attempts, nearest first: its distance from the
commit or from the one before, and when it is due, in tenths of a second beyond `base`. At most 900
characters: whoever comes next tries the others as if for the first time.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

VERSION = "1;"
MOST = 3072
"""Characters of the first part; Kafka's own limit (`offset.metadata.max.bytes`) is 4096 for both."""

MOST_TRIED = 900

_BYTES = (MOST - len(VERSION)) // 4 * 3
_BYTES_TRIED = MOST_TRIED // 4 * 3

Run = tuple[int, int]
"""Offsets from the first to before the second."""


class Tried(NamedTuple):
    """What the attempts so far have used up; `due_at` in milliseconds since the epoch."""

    offset: int
    sends: int
    attempts: int
    due_at: int


class Marks(NamedTuple):
    """`begun`: every offset whose send has begun lies below. `done`: rising runs, none of them empty.
    `tried`: rising offsets."""

    starts: int = 0
    begun: int = 0
    done: tuple[Run, ...] = ()
    tried: tuple[Tried, ...] = ()


def encode(marks: Marks, committed: int) -> str:
    """`marks` for a commit of `committed`; the empty string when there is nothing to tell."""
    begun = max(0, marks.begun - committed)
    if not marks.starts and not begun and not marks.done and not marks.tried:
        return ""
    packed = bytearray(_varint(marks.starts) + _varint(begun))
    at = committed
    for first, end in marks.done:
        run = _varint(first - at) + _varint(end - first)
        if len(packed) + len(run) > _BYTES:
            break
        packed += run
        at = end
    text = VERSION + base64.b64encode(packed).decode()
    return f"{text};{_encode_tried(marks.tried, committed)}" if marks.tried else text


def _encode_tried(tried: Sequence[Tried], at: int) -> str:
    base = min(one.due_at for one in tried) // 100
    packed = bytearray(_varint(base))
    for offset, sends, attempts, due_at in tried:
        due = -(-due_at // 100) - base  # rounded up: not a moment too early
        entry = _varint(offset - at) + _varint(sends) + _varint(attempts) + _varint(due)
        if len(packed) + len(entry) > _BYTES_TRIED:
            break
        packed += entry
        at = offset
    return base64.b64encode(packed).decode()


def decode(text: str, committed: int) -> Marks:
    """The reverse of `encode`. Nothing, an unknown version or damage: all beyond the commit is open."""
    if not text.startswith(VERSION):
        return Marks()
    first, _, second = text[len(VERSION) :].partition(";")
    try:
        numbers, tried = _unpack(first), _unpack(second)
    except (binascii.Error, ValueError):
        return Marks()
    if len(numbers) < 2 or len(numbers) % 2 or len(tried) % 4 > 1:
        return Marks()
    starts, begun, *lengths = numbers
    return Marks(starts, committed + begun, tuple(_runs(lengths, committed)), tuple(_tried(tried, committed)))


def _unpack(text: str) -> list[int]:
    return list(_numbers(base64.b64decode(text, validate=True)))


def _tried(numbers: Sequence[int], at: int) -> Iterator[Tried]:
    if not numbers:
        return
    base, *rest = numbers
    fours = iter(rest)
    for distance, sends, attempts, due in zip(fours, fours, fours, fours, strict=True):
        at += distance
        yield Tried(at, sends, attempts, (base + due) * 100)


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
