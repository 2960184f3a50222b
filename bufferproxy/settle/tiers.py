"""Where a request waits for its time: the tiers of `.delayed`. Pure.

Tier n is a FIFO in which every record waits the same 0.25 s * 4**n, so its head is due first and nothing
needs to be held in memory. A record goes to the largest tier not above what remains, and hops on from there.
"""

from __future__ import annotations

from bisect import bisect_right

from bufferproxy.envelope import copy_of
from bufferproxy.log.topics import TIERS
from bufferproxy.records import Entry, Partition, Request

EARLY = TIERS[0]
"""Less than this many seconds early counts as due."""


def tier_for(remaining: float) -> int:
    """The largest tier whose wait is not above `remaining` seconds; the smallest for less."""
    return max(0, bisect_right(TIERS, remaining) - 1)


def due(request: Request, now_ms: int) -> bool:
    return request.due_at is None or request.due_at - now_ms < EARLY * 1000


def delayed(request: Request, now_ms: int, topic: str) -> tuple[Partition, Entry]:
    """The copy to append so that `request` waits on until its `due_at` (which must be set)."""
    assert request.due_at is not None  # noqa: S101 - the callers have just set it
    tier = tier_for((request.due_at - now_ms) / 1000)
    copy = request._replace(hop_at=now_ms + round(TIERS[tier] * 1000))
    return Partition(topic, tier), copy_of(copy)
