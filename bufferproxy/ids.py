"""The id of a request: where it was accepted, where its end will be, and a nonce, as 48 characters. Pure.

It is derived, never stored in an original: after append and after fetch alike. The layout is fixed in
`docs/decisions/0001-stored-format.md`.
"""

from __future__ import annotations

import base64
import re
import struct
import zlib
from functools import lru_cache
from typing import NamedTuple

REQUESTS, HIGH, LOW, DELAYED = range(4)
"""Which topic of the service accepted the request: the first three have the numbers of their priorities."""

_ID = struct.Struct(">IHHIH12s")  # version|topic|service, partition, offset (high, low), results, nonce
_ID_FRONT = struct.Struct(">IHH")  # the first part of it, the same for all of a partition
_ID_REST = struct.Struct(">IH12s")
_ID_VERSION = 1
_CRC = struct.Struct(">I")
_ID_TEXT = re.compile("[a-z2-7]{48}")
NONCE_LENGTH = 12

_ALPHABET = b"abcdefghijklmnopqrstuvwxyz234567"
_TO_TEXT = _ALPHABET + bytes(256 - len(_ALPHABET))
_FRONT_LENGTH = 12
_REST_LENGTH = 36

NONCE_TEXT = slice(23, 41)
"""Where an id has its `nonce_text`. The nonce begins and ends within the characters before and after it."""
_NONCE_CHARACTERS = 18
_NONCE_AFTER = 3  # its last bits, in the character after these
_NONCE_MASK = (1 << 5 * _NONCE_CHARACTERS) - 1


class Identity(NamedTuple):
    """What an id says: where the request was accepted (not where it lies now) and where its end will be."""

    service: int
    topic: int
    partition: int
    offset: int
    results: int
    nonce: bytes


def service_number(name: str) -> int:
    """24 bits that stand for a service in ids: the CRC-32 of its name, without the lowest byte."""
    return zlib.crc32(name.encode()) >> 8


def id_of(identity: Identity) -> str:
    """48 characters of lower-case base32 over 26 bytes and their CRC-32. Raises struct.error for a number
    that does not fit."""
    service, topic, partition, offset, results, nonce = identity
    return id_at(service, topic, partition, offset, results, nonce)


def id_at(service: int, topic: int, partition: int, offset: int, results: int, nonce: bytes) -> str:
    """`id_of` for who has no Identity at hand: it is made for each request, twice."""
    begin, nibble, crc = _front(service, topic, partition, offset >> 32)
    rest = _ID_REST.pack(offset & 0xFFFFFFFF, results, nonce)
    bits = nibble | int.from_bytes(rest, "big") << 32 | zlib.crc32(rest, crc)
    # base64.b32encode takes longer than all the rest of an acceptance. Here five bits after five come to a
    # byte of their own in six steps, each of which moves half of them. Written out, for a loop costs more.
    bits += (bits & _MASK_32) * _BY_32
    bits += (bits & _MASK_16) * _BY_16
    bits += (bits & _MASK_8) * _BY_8
    bits += (bits & _MASK_4) * _BY_4
    bits += (bits & _MASK_2) * _BY_2
    bits += (bits & _MASK_1) * _BY_1
    return begin + bits.to_bytes(_REST_LENGTH, "big").translate(_TO_TEXT).decode("ascii")


@lru_cache(maxsize=1024)
def _front(service: int, topic: int, partition: int, high: int) -> tuple[str, int, int]:
    """What all ids of a partition have in common: 12 characters, the 4 bits behind them, the CRC so far."""
    raw = _ID_FRONT.pack((_ID_VERSION << 4 | topic) << 24 | service, partition, high)
    text = base64.b32encode(raw)[:_FRONT_LENGTH].lower().decode("ascii")
    return text, (raw[-1] & 15) << 176, zlib.crc32(raw)


def _spread(step: int) -> tuple[int, int]:
    """Which bits move in the step of so many groups of five, and what times them is added to move them: a
    group whose number has the bit `step` is still `step` times 3 bits too low."""
    mask = 0
    for number in range(_REST_LENGTH):
        if number & step:
            higher = number & ~(2 * step - 1)  # by these it has been moved before
            mask |= 31 << (5 * number + 3 * higher)
    return mask, (1 << 3 * step) - 1


(_MASK_32, _BY_32), (_MASK_16, _BY_16), (_MASK_8, _BY_8) = _spread(32), _spread(16), _spread(8)
(_MASK_4, _BY_4), (_MASK_2, _BY_2), (_MASK_1, _BY_1) = _spread(4), _spread(2), _spread(1)


def nonce_text(nonce: bytes) -> bytes:
    """The characters of an id that its nonce alone decides, 90 bits of it: known before the request is
    stored, while the rest of the id is not."""
    bits = int.from_bytes(nonce, "big") >> _NONCE_AFTER & _NONCE_MASK
    bits += (bits & _MASK_16) * _BY_16
    bits += (bits & _MASK_8) * _BY_8
    bits += (bits & _MASK_4) * _BY_4
    bits += (bits & _MASK_2) * _BY_2
    bits += (bits & _MASK_1) * _BY_1
    return bits.to_bytes(_NONCE_CHARACTERS, "big").translate(_TO_TEXT)


def parse_id(text: str) -> Identity | None:
    """The reverse of `id_of`; None for anything that it cannot have made."""
    if not _ID_TEXT.fullmatch(text):
        return None
    packed = base64.b32decode(text.upper())
    raw, check = packed[:-4], packed[-4:]
    if _CRC.pack(zlib.crc32(raw)) != check or raw[0] >> 4 != _ID_VERSION:
        return None
    first, partition, high, low, results, nonce = _ID.unpack(raw)
    return Identity(first & 0xFFFFFF, first >> 24 & 15, partition, high << 32 | low, results, nonce)
