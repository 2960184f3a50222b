"""What a caller may take of us while its request arrives."""

from __future__ import annotations

from typing import NamedTuple

KIB = 1024

LINE_SLACK = 64
"""Bytes of a request line beside its target: the longest method, two spaces, the version."""

SKIP = 64 * KIB
"""A refused request's body of at most this many bytes is read and thrown away, so that the connection can
go on: under overload a new connection for each 503 would cost more than the bytes. A longer one closes it."""

LINGER = 3.0
"""Seconds in which what a refused caller still sends is thrown away. Closing at once would reset the
connection, and the reset can overtake the refusal."""

HELD_BYTES = 64 * KIB
"""What may lie in memory of requests that follow the one being answered; above it reading is paused."""

STREAM_BYTES = 1024 * KIB
"""What may be unsent of a stream whose reader does not keep up; above it the stream is cut."""


class Limits(NamedTuple):
    """`receive` of the settings. Times in seconds, sizes in bytes.

    `headers`: from a request's first byte to the end of its headers. `body`: from there to its last byte.
    `idle`: without a request, and without the caller reading what it was sent. `header_bytes`: all header
    lines together, without the request line.
    """

    headers: float = 10.0
    body: float = 30.0
    idle: float = 75.0
    header_bytes: int = 64 * KIB
    header_count: int = 200
    target_bytes: int = 16 * KIB

    @property
    def tick(self) -> float:
        """Seconds between two looks at the deadlines: they end at most this much late."""
        return min(max(min(self.headers, self.body, self.idle) / 8, 0.01), 0.5)
