"""Reading a request's body: of a known length, or in chunks. Both collect pieces and know their end."""

from __future__ import annotations

import re
from typing import NamedTuple

from bufferproxy.http1.limits import CHUNKS_PER_KIB, FREE_CHUNKS, TURN_CHUNKS, Limits, too_many_chunks
from bufferproxy.http1.pieces import Pieces
from bufferproxy.http1.problems import Problem, bad_request

_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_CHUNK_LINE_BYTES = 1024
_EXTENSION_BYTES = 16 * 1024

_SIZE, _DATA, _DATA_END, _TRAILERS, _ENDED = range(5)
_LONGER = "A chunk is longer than its size."


class Later(NamedTuple):
    """As much was read as one turn of the loop takes: `rest` is to be fed in another one."""

    rest: bytes


class SizedBody:
    """Exactly `length` bytes."""

    __slots__ = ("_left", "_pieces")

    def __init__(self, length: int) -> None:
        self._left = length
        self._pieces = Pieces()

    def feed(self, data: bytes) -> bytes | None:
        """Returns what follows the body, or None when more of it has to come."""
        left = self._left
        if len(data) < left:
            self._left = left - len(data)
            self._pieces.add(data)
            return None
        self._pieces.add(data[:left])
        return data[left:]

    def whole(self) -> bytes:
        return self._pieces.whole()


class ChunkedBody:
    """Chunks (RFC 9112, 7.1), strictly. Extensions are ignored, trailers dropped, both within limits."""

    __slots__ = (
        "_allowed",
        "_buffer",
        "_chunks",
        "_extension_bytes",
        "_left",
        "_limits",
        "_pieces",
        "_size",
        "_state",
        "_trailer_bytes",
        "_trailer_count",
    )

    def __init__(self, allowed: int, limits: Limits) -> None:
        self._allowed = allowed
        self._limits = limits
        self._buffer = b""
        self._pieces = Pieces()
        self._chunks = 0
        self._state = _SIZE
        self._left = 0
        self._size = 0
        self._extension_bytes = 0
        self._trailer_bytes = 0
        self._trailer_count = 0

    def feed(self, data: bytes) -> bytes | Problem | Later | None:
        """Returns what follows the body, or None when more of it has to come."""
        data = self._buffer + data
        self._buffer = b""
        at = 0
        last = self._chunks + TURN_CHUNKS
        while self._state != _ENDED:
            if self._chunks == last and at < len(data):
                return Later(data[at:])
            if self._state == _DATA:
                at = self._data(data, at)
                if self._left:
                    return None
            end = data.find(b"\r\n", at)
            if end < 0:
                self._buffer = data[at:]
                return self._unended(self._buffer)
            problem = self._line(data[at:end])
            if problem is not None:
                return problem
            at = end + 2
        return data[at:]

    def whole(self) -> bytes:
        return self._pieces.whole()

    def _data(self, data: bytes, at: int) -> int:
        piece = data[at : at + self._left]
        self._pieces.add(piece)
        self._left -= len(piece)
        if not self._left:
            self._state = _DATA_END
        return at + len(piece)

    def _line(self, line: bytes) -> Problem | None:
        """Take a line, without its CRLF."""
        if self._state == _SIZE:
            return self._chunk(line)
        if self._state == _DATA_END:
            self._state = _SIZE
            return bad_request(_LONGER) if line else None
        return self._trailer(line)

    def _chunk(self, line: bytes) -> Problem | None:
        match = _CHUNK.fullmatch(line) if len(line) <= _CHUNK_LINE_BYTES else None
        if match is None:
            return bad_request("A chunk size is malformed.")
        self._extension_bytes += len(line) - len(match[1])
        if self._extension_bytes > _EXTENSION_BYTES:
            return bad_request("There are too many chunk extensions.")
        self._left = int(match[1], 16)
        self._size += self._left
        self._chunks += 1
        self._state = _DATA if self._left else _TRAILERS
        if self._size > self._allowed:
            return too_large(self._allowed)
        if too_many_chunks(self._chunks, self._size, FREE_CHUNKS):
            return bad_request(f"The chunks are too small: at most {CHUNKS_PER_KIB} for each KiB are taken.")
        return None

    def _trailer(self, line: bytes) -> Problem | None:
        if not line:
            self._state = _ENDED
            return None
        self._trailer_count += 1
        self._trailer_bytes += len(line) + 2
        if self._trailer_count > self._limits.header_count or self._trailer_bytes > self._limits.header_bytes:
            return Problem("headers-too-large", "The trailers are too large.")
        return None if _TRAILER.fullmatch(line) else bad_request("A trailer is malformed.")

    def _unended(self, line: bytes) -> Problem | None:
        """What is already wrong with a line whose end has not come."""
        if b"\n" in line or b"\r" in line[:-1]:
            return bad_request("A line of the chunked body is not ended by CR LF.")
        if self._state == _TRAILERS:
            if self._trailer_bytes + len(line) > self._limits.header_bytes:
                return Problem("headers-too-large", "The trailers are too large.")
            return None
        if self._state == _DATA_END:
            return bad_request(_LONGER) if line not in (b"", b"\r") else None
        return bad_request("A chunk size is malformed.") if len(line) > _CHUNK_LINE_BYTES else None


def too_large(allowed: int) -> Problem:
    return Problem("body-too-large", f"At most {allowed} bytes of body are taken here.")
