"""The nouns of the log: where something lies, what goes in, what comes out."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import NamedTuple

Headers = tuple[tuple[str, bytes], ...]


class Partition(NamedTuple):
    """One ordered part of a topic."""

    topic: str
    number: int


class Position(NamedTuple):
    """The place of a record. Offsets rise within a partition, with gaps."""

    partition: Partition
    offset: int


class Entry(NamedTuple):
    """What is about to be stored. `key` is bytes or none; equal keys belong in one partition."""

    key: bytes | None
    value: bytes
    headers: Headers


class Record(NamedTuple):
    """What was stored. `appended_at` is in seconds since the epoch, by the clock of who appended."""

    partition: Partition
    offset: int
    key: bytes | None
    value: bytes
    headers: Headers
    appended_at: float

    @property
    def position(self) -> Position:
        return Position(self.partition, self.offset)


class State(StrEnum):
    """Where a request stands. The last five are ends: each accepted id reaches exactly one."""

    QUEUED = "queued"
    DELIVERING = "delivering"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    REJECTED = "rejected"
    DEAD = "dead"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in ENDS


ENDS = frozenset({State.DELIVERED, State.REJECTED, State.DEAD, State.EXPIRED, State.CANCELLED})


class Priority(IntEnum):
    """How soon a request is taken, beside others of its service. Its number is that of the topic in an id."""

    NORMAL = 0
    HIGH = 1
    LOW = 2


class Request(NamedTuple):
    """An accepted request, as the steps after acceptance see it.

    `head` is the request line and the end-to-end header lines as the service shall receive them, each line
    ended by CRLF, without the empty line and without what every attempt adds (see `deliver/headers.py`).
    Times are milliseconds since the epoch; `attempts` counts those used up, `sends` those that may have
    reached the service; `generation` is the number of the redrive that it comes from, 0 without one.
    """

    id: str
    position: Position
    key: bytes | None
    head: bytes
    body: bytes
    accepted_at: int
    results: int
    waiting: bool = False
    idempotency_key: bytes | None = None
    expires_at: int | None = None
    due_at: int | None = None
    hop_at: int | None = None
    attempts: int = 0
    sends: int = 0
    generation: int = 0
    priority: Priority = Priority.NORMAL

    @property
    def again(self) -> bool:
        """A send would be a retry. A redrive starts anew: its first send is none, whatever was sent
        before."""
        return self.attempts > 0 or (self.sends > 0 and not self.generation)

    def sent_again(self) -> Request:
        """The same, with one attempt and one send more."""
        return Request(*self[:12], self.attempts + 1, self.sends + 1, self.generation, self.priority)


class Change(NamedTuple):
    """What became of a request: an end (with the service's answer, if it gave one) or a step on the way.

    `reply_head` is the status line and the end-to-end header lines of the service's answer, CRLF-ended,
    without the empty line; `None` when there is no answer. Times are milliseconds since the epoch.
    """

    id: str
    state: State
    at: int
    accepted_at: int
    attempts: int
    results: int
    reply_head: bytes | None = None
    reply_body: bytes = b""
    error: str | None = None
    next_attempt_at: int | None = None
    expires_at: int | None = None


class Letter(NamedTuple):
    """A dead letter as it is listed; the request and the last answer stay in the log, at `position`.

    `path` is the target's, as the service got it and without its query; `key` the ordering key. Of a record
    that could not be understood, `id` is where it lay (`topic/partition/offset`) and `accepted_at` unknown.
    Times are milliseconds since the epoch.
    """

    id: str
    generation: int
    position: Position
    reason: str
    status: int | None
    attempts: int
    accepted_at: int | None
    died_at: int
    path: str
    key: bytes | None


class Mark(NamedTuple):
    """What became of a dead letter: it was purged, or opened again by redrive number `generation`.

    Of a redrive `state` tells what came of it: None at first, then the step or the end at which the worker
    settled it. A purge has no state, and its `generation` is the letter's. Times as in Letter.
    """

    id: str
    generation: int
    purged: bool
    at: int
    results: int
    accepted_at: int | None = None
    state: State | None = None
    attempts: int = 0
    due_at: int | None = None
    expires_at: int | None = None
