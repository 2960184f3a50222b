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

JOIN_BYTES = 64 * KIB
"""A body up to this is copied behind its head, to go out in one write; a larger one is not copied."""

STREAM_BYTES = 1024 * KIB
"""What may be unsent of a stream whose reader does not keep up; above it the stream is cut."""


TURN_REQUESTS = 16
"""Requests that are read from one connection in one turn of the loop. What else it has sent waits for turns
that all connections share, so whoever sends much at once does not hold up the others."""

TURN_CHUNKS = 64
"""The same for the chunks of a body: each costs as much as some kilobytes of body."""

FREE_CHUNKS = 1024
"""Chunks of a body that may be of any size."""

CHUNKS_PER_KIB = 64
"""Beyond `FREE_CHUNKS`, for each KiB of body: sixteen bytes a chunk on average, where clients send thousands.
Less is a burden, not a body."""

FREE_REPLY_CHUNKS = 64 * KIB
"""`FREE_CHUNKS` of a service's reply: the service has acted on the request, so its answer is worth more."""

TURN_BYTES = 16 * KIB
"""Bytes of a reply in chunks, or of heads, that are read in one turn of the loop."""


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


def too_many_chunks(chunks: int, size: int, free: int) -> bool:
    """Whether a body of `size` bytes so far is cut too small. `free`: that many are taken of any size."""
    return chunks > free + size * CHUNKS_PER_KIB // KIB
