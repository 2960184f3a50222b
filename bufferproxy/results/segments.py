"""Some thousand ends in three byte strings. Pure.

A row per id costs ten times as much as it takes to append its key to a list. Therefore ends are gathered as
they come and packed together, unsorted: of each id a token and a spot, and of all of them the set of blocks.
To find an id is to find its block among the blocks (an index over them is small: ids that end at about the
same time were accepted close to each other), and then its token among the tokens.

An id is 48 characters of 5 bits (see `docs/decisions/0001-stored-format.md`), here as the bytes of its text:

- its **block** is its beginning: version, topic, service, partition, and all of the offset but the last
  6 bits. A block holds 64 positions of one partition;
- its **token** is its end, 80 bits: half of the nonce, and the checksum over all the rest. Random, so it is
  found quickly, and hardly ever by mistake.

A **spot** says where the end lies, as one number: the number of the place (a partition) and the offset there.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

TOKEN = 16
"""Bytes of a token."""

_SPOT = 8
_OFFSET_BITS = 48
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1


class Segment(NamedTuple):
    """`newest`: none of its ends was decided later (ms)."""

    tokens: bytes
    spots: bytes
    blocks: AbstractSet[bytes]
    newest: int


def pack(keys: Sequence[bytes], spots: Iterable[int], newest: int) -> Segment:
    tokens = b"".join([key[-TOKEN:] for key in keys])
    if len(tokens) != TOKEN * len(keys):  # a short key is no id of ours
        tokens = b"".join([_token(key) for key in keys])
    return Segment(tokens, array("Q", spots).tobytes(), {key[:18] for key in keys}, newest)


def block_of(key: bytes) -> bytes:
    return key[:18]


def spots_of(key: bytes, tokens: bytes, spots: bytes) -> list[int]:
    """Where the ends of `key` may lie, in the order they were packed."""
    token = _token(key)
    found = []
    begin = tokens.find(token)
    while begin >= 0:
        number, astride = divmod(begin, TOKEN)
        if not astride:
            found.append(int.from_bytes(spots[number * _SPOT : (number + 1) * _SPOT], sys.byteorder))
        begin = tokens.find(token, begin + 1)
    return found


def spots_in(place: int, offsets: Iterable[int]) -> list[int]:
    first = place << _OFFSET_BITS
    return [first | offset for offset in offsets]


def parted(spot: int) -> tuple[int, int]:
    """Number of the place, and offset."""
    return spot >> _OFFSET_BITS, spot & _OFFSET_MASK


def _token(key: bytes) -> bytes:
    return key[-TOKEN:].ljust(TOKEN)
