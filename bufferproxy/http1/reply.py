"""What an exchange with a service comes to: a Reply, or a Failure that says how far it had come."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Phase(StrEnum):
    """How far an exchange had come when it failed."""

    CONNECT = "connect"
    SEND = "send"
    FIRST_BYTE = "first_byte"
    REPLY = "reply"


class Kind(StrEnum):
    """What went wrong. `reset` came with an error of the socket, `closed` without one."""

    REFUSED = "refused"
    UNRESOLVED = "unresolved"
    TIMEOUT = "timeout"
    RESET = "reset"
    CLOSED = "closed"
    TLS = "tls"
    GARBAGE = "garbage"


class Failure(NamedTuple):
    """No reply. `sent`: a byte of the request may have reached the service. `detail` is for people."""

    phase: Phase
    kind: Kind
    sent: bool
    detail: str


class Reply(NamedTuple):
    """A whole reply.

    `head`: status line and end-to-end header lines, each ended by CRLF, without the empty line; names in
    their case, values byte for byte, in order. Its Content-Length agrees with `body`, except where HTTP
    gives it another meaning: in replies to HEAD and in a 304 it stays as received.
    `too_large`: it was above a limit. `body` is empty, and of a head that was too large only the status line
    is left.
    `retry_after` and `outcome` are the values of Retry-After and Bufferproxy-Outcome, the first of each.
    """

    status: int
    head: bytes
    body: bytes
    too_large: bool = False
    retry_after: bytes | None = None
    outcome: bytes | None = None


class ReplyLimits(NamedTuple):
    """Bytes. `head`: of a reply's head, and of trailers and the like beside its body. Above `body` a body is
    read on, up to `discard`, so that the connection can be used again; what is longer than that is answered
    all the same, and the connection closes."""

    head: int = 64 << 10
    body: int = 1 << 20
    discard: int = 16 << 20
