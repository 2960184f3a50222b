"""Heads of replies that came before.

A service answers with the same head again and again, but for the second in its Date. What was made of one
follows from its bytes alone, so they are the key: a whole reply behind a known head is not parsed again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bufferproxy.http1.reply import Reply


class KnownHead(NamedTuple):
    """What the bytes of a plain head came to: one with a Content-Length, after which the connection stays."""

    status: int
    head: bytes
    length: int
    retry_after: bytes | None
    outcome: bytes | None
    keep_alive: float | None


KNOWN_HEADS: dict[bytes, KnownHead] = {}
LONGEST_KNOWN = 2048
_MOST_KNOWN = 256


def remember(raw: bytes, reply: Reply, keep_alive: float | None) -> None:
    if len(KNOWN_HEADS) >= _MOST_KNOWN:
        KNOWN_HEADS.clear()
    KNOWN_HEADS[raw] = KnownHead(
        reply.status, reply.head, len(reply.body), reply.retry_after, reply.outcome, keep_alive
    )
