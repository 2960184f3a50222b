"""Records of Kafka's batches (format 2), to bytes and back. kafka-python takes 25 µs to hand over one with
seven headers, most of it for numbers of one byte. The batch around them (checksum, compression, sequence
numbers) stays the library's.
"""

from __future__ import annotations

from collections.abc import Iterator

from kafka.errors import CorruptRecordError
from kafka.record.util import encode_varint

from bufferproxy.records import Headers, Partition, Record


def varint(value: int) -> bytes:
    encoded = bytearray()
    encode_varint(value, encoded.append)
    return bytes(encoded)


_SIZES = tuple(varint(size) for size in range(4096))
_NONE = varint(-1)

# Of the few names there are. Whoever sends us others does not fill the memory with them.
_MOST_NAMES = 256
_encoded_names: dict[str, bytes] = {}
_decoded_names: dict[bytes, str] = {}
"""With the length before it, of one byte."""


def size(value: int) -> bytes:
    return _SIZES[value] if value < 4096 else varint(value)


def contents(key: bytes | None, value: bytes | None, headers: Headers) -> bytes:
    """A record from its key on."""
    parts = [_NONE] if key is None else [size(len(key)), key]
    if value is None:
        parts.append(_NONE)
    else:
        parts += (size(len(value)), value)
    parts.append(size(len(headers)))
    for name, content in headers:
        encoded = _encoded_names.get(name)
        if encoded is None:
            raw = name.encode()
            encoded = size(len(raw)) + raw
            if len(_encoded_names) < _MOST_NAMES:
                _encoded_names[name] = encoded
        parts += (encoded, size(len(content)), content)
    return b"".join(parts)


def record(time_delta: int, offset_delta: int, rest: bytes) -> bytes:
    """A whole record; `rest` is its contents. Deltas to the first of its batch, times in milliseconds."""
    time = size(time_delta) if time_delta >= 0 else varint(time_delta)
    offset = size(offset_delta)
    return b"".join((size(1 + len(time) + len(offset) + len(rest)), b"\0", time, offset, rest))


def records(
    partition: Partition, data: bytes, at: int, count: int, base: int, first: int, stamped: int | None = None
) -> Iterator[Record]:
    """The `count` records of a batch, in `data` from `at` on. `base`: its first offset; `first`: its first
    time; `stamped`: the time of all, where the broker sets it. Raises CorruptRecordError."""
    try:
        for _ in range(count):
            length, at = _varint(data, at)
            end = at + length
            time, at = _varint(data, at + 1)
            offset, at = _varint(data, at)
            key, at = _bytes(data, at)
            value, at = _bytes(data, at)
            headers, at = _headers(data, at)
            if at != end or end > len(data):
                raise CorruptRecordError(f"a record of {partition} is {length} bytes, and its parts are not")
            moment = first + time if stamped is None else stamped
            # A tombstone has no value.
            yield Record(partition, base + offset, key, value or b"", headers, moment / 1000)
    except (IndexError, UnicodeDecodeError) as error:
        raise CorruptRecordError(f"a record of {partition}: {error!r}") from error
    if at != len(data):
        raise CorruptRecordError(f"{len(data) - at} bytes after the last record of a batch of {partition}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at + 1
    value, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at + 1
        shift += 7
        if shift > 63:
            raise IndexError("a number that does not end")


def _bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = _varint(data, at)
    return (None, at) if length < 0 else (data[at : at + length], at + length)


def _headers(data: bytes, at: int) -> tuple[Headers, int]:
    count, at = _varint(data, at)
    if count < 0:
        raise IndexError("less than no headers")
    headers: list[tuple[str, bytes]] = []
    names = _decoded_names
    for _ in range(count):
        # Nearly always a known name, found together with its length, and a length of one byte.
        end = at + 1 + (data[at] >> 1)
        name = names.get(data[at:end])
        if name is None:
            name, end = _name(data, at)
        length = data[end]
        if length < 0x80 and length != 1:
            end += 1
            at = end + (length >> 1)
            headers.append((name, data[end:at]))
        else:
            value, at = _bytes(data, end)
            headers.append((name, value or b""))  # others may write one without a value
    return tuple(headers), at


def _name(data: bytes, at: int) -> tuple[str, int]:
    start = at
    length, at = _varint(data, at)
    if length < 0:
        raise IndexError("a header without a name")
    end = at + length
    name = data[at:end].decode()
    if at == start + 1 and end <= len(data) and len(_decoded_names) < _MOST_NAMES:
        _decoded_names[data[start:end]] = name
    return name, end
