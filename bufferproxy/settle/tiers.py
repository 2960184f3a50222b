"""Where a request waits for its time: the tiers of `.delayed`. Pure.

Tier n is a FIFO in which every record waits the same 0.25 s * 4**n, so its head is due first and nothing
needs to be held in memory. A record goes to the largest tier not above what remains, and hops on from there.
What remains ends with its time or with its expiry, so that what expires in the tiers is met when it does.
"""

from __future__ import annotations

from bisect import bisect_right

from bufferproxy.envelope import copy_of
from bufferproxy.log.topics import TIERS
from bufferproxy.records import Entry, Partition, Request

EARLY = TIERS[0]
"""With less than this many seconds left it hops no more."""


def tier_for(remaining: float) -> int:
    """The largest tier whose wait is not above `remaining` seconds; the smallest for less."""
    return max(0, bisect_right(TIERS, remaining) - 1)


def due(request: Request, now_ms: int) -> bool:
    return request.due_at is None or request.due_at - now_ms < EARLY * 1000


def set_back(hop_at: int, tier: int, now_ms: int) -> int:
    """By how many ms the clock has been set back since this wait began, at least (below 0: not at all); or by
    how many it is behind that of whoever began it."""
    return hop_at - now_ms - round(TIERS[tier] * 1000)


def wait_from(now_ms: int, due_at: int, expires_at: int | None) -> tuple[int, int]:
    """The tier for what has to wait now, and when that tier is waited out (ms since the epoch)."""
    until = due_at if expires_at is None else min(due_at, expires_at)
    tier = tier_for((until - now_ms) / 1000)
    return tier, now_ms + round(TIERS[tier] * 1000)


def delayed(request: Request, now_ms: int, topic: str) -> tuple[Partition, Entry]:
    """The copy to append so that `request` waits on until its `due_at` (which must be set)."""
    assert request.due_at is not None  # noqa: S101 - the callers have just set it
    tier, hop_at = wait_from(now_ms, request.due_at, request.expires_at)
    return Partition(topic, tier), copy_of(request._replace(hop_at=hop_at))
