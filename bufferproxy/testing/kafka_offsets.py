"""What Kafka writes down of its groups in `__consumer_offsets`. Pure."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bufferproxy.records import Record

OFFSETS = "__consumer_offsets"


def commit_of(record: Record) -> tuple[str, str, int] | None:
    """(group, partition, next offset); None for what is no commit. As in Kafka's OffsetCommitKey and
    OffsetCommitValue: versions 0 and 1 of the key, an int64 after the version of any value."""
    key, value = record.key or b"", record.value
    if len(key) < 2 or struct.unpack_from(">h", key)[0] > 1 or not value:
        return None
    group, at = _text(key, 2)
    topic, at = _text(key, at)
    (number,) = struct.unpack_from(">i", key, at)
    (offset,) = struct.unpack_from(">q", value, 2)
    return group, f"{topic}/{number}", offset


def generation_of(record: Record) -> tuple[str, int]:
    """(group, generation); ("", 0) for what is none. As in Kafka's GroupMetadataKey (version 2) and
    GroupMetadataValue: after the version of any value the protocol's type, then the generation."""
    key, value = record.key or b"", record.value
    if len(key) < 2 or struct.unpack_from(">h", key)[0] != 2 or not value:
        return "", 0
    (generation,) = struct.unpack_from(">i", value, _text(value, 2)[1])
    return _text(key, 2)[0], generation


def _text(data: bytes, at: int) -> tuple[str, int]:
    """A string of Kafka's, and where it ends."""
    (length,) = struct.unpack_from(">h", data, at)
    return data[at + 2 : at + 2 + length].decode(), at + 2 + length
