"""What a service is like right now: pulled when somebody looks, never pushed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class GaugeReading(NamedTuple):
    """One look at one service, by this replica.

    Rates are per second, `inf` when unlimited. The backlog is what is not settled yet: `ready` may be sent
    now, `delayed` waits for its time (a delay or a retry), `in_flight` is being delivered; `accepted -
    finished` is the sum of the three.
    """

    ready: int
    delayed: int
    in_flight: int
    bytes: int
    """Bodies of the backlog."""
    oldest_at: float | None
    """When the oldest open request was accepted, seconds since the epoch; None without backlog."""
    drain_eta: float
    """Seconds until the backlog is empty at today's pace; `inf` when nothing drains, 0 without backlog."""
    deliveries: int
    """Attempts in flight."""
    rate_limit: float
    """The ceiling."""
    rate_allowed: float
    """What is left of it after pauses, rests, breaker, ramp and adaptive limits."""
    rate_share: float
    """This replica's part of it."""
    held: int
    """Callers that wait for their reply."""
    dead_letters: int
    partitions: int
    """How many partitions of the service's topics this replica reads."""
    breaker: str = "closed"
    """Its state: closed, open or half-open."""
    concurrency_allowed: int = 0
    """Attempts that all replicas together may have in flight now."""
    concurrency_found: int = 0
    """What adaptive concurrency has found, enforced or in shadow; 0 where it is not set."""
    shadow: tuple[str, ...] = ()
    """What would hold requests back now, were it not in shadow: `breaker`, `adaptive`."""


Gauges = Callable[[], GaugeReading]
"""Called on the event loop at each scrape and each look: must be quick, must not raise."""
