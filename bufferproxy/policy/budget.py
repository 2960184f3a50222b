"""The retry budget: retries are at most a share of first attempts, so a failing service is not also flooded.

Over a sliding window, for all replicas together. A service that gets next to nothing may always send FLOOR
of them in a window: it is the larger of the two, not the sum, so a busy service stays within its share.

Nothing is lost by it: what exceeds the budget waits longer. Retries queue for the budget in the order in
which they were put off, so `wait` is how long the ones before take.

A service that is well has no budget: what an outage has left behind is sent at the full rate, or it would
expire at the floor. Where WELL of the attempts fail, retries are no more than that anyway.
"""

from __future__ import annotations

import math

from bufferproxy.policy.sliding import Sliding

WINDOW = 10.0
FLOOR = 30.0

WELL = 0.1
"""Share of failures in a window up to which a service is well, once ENOUGH attempts tell."""
ENOUGH = 10

LONGEST = 30.0
"""Seconds by which a retry is put off for the budget at most: when the service is well again it is wanted."""

SPREAD = 1.0
"""Seconds over which what is left is handed out. Longer than a report and a grant take together (0.5 s):
what is not reported yet is less than what was left, and the budget is not spent twice."""


class RetryBudget:
    """`share` of first attempts, 0.2 for 20 %; `floor` in retries per WINDOW."""

    __slots__ = ("_ends", "_sums", "_waiting", "floor", "share")

    def __init__(self, share: float, floor: float = FLOOR) -> None:
        self.share = share
        self.floor = floor
        self._sums = Sliding(WINDOW)
        self._ends = Sliding(WINDOW)
        self._waiting = 0.0

    def observe(self, first: float, retries: float, planned: float, now: float) -> None:
        """`first` attempts and `retries` were sent, `planned` retries were put off."""
        self._sums.add(now, retries, first)
        self._waiting = max(0.0, self._waiting + planned - retries)

    def ended(self, judged: float, failures: float, now: float) -> None:
        """`judged` attempts have ended, `failures` of them badly."""
        self._ends.add(now, failures, judged)

    def well(self, now: float) -> bool:
        failures, judged = self._ends.sums(now)
        return judged >= ENOUGH and failures <= WELL * judged

    def left(self, now: float) -> float:
        """Retries that may be sent now; inf while the service is well."""
        if self.well(now):
            return math.inf
        retries, first = self._sums.sums(now)
        return max(0.0, self._earned(first) - retries)

    def rate(self, now: float) -> float:
        """Retries per second that all replicas together may send until they are told anew."""
        return self.left(now) / SPREAD

    def wait(self, now: float) -> float:
        """Seconds that a retry put off now must wait at least, for those before it to have had their turn."""
        if self.well(now):
            return 0.0
        retries, first = self._sums.sums(now)
        earned = self._earned(first)
        before = self._waiting - max(0.0, earned - retries)
        return max(0.0, before) / (earned / WINDOW)

    def _earned(self, first: float) -> float:
        return max(self.floor, self.share * first)

    def __repr__(self) -> str:
        return f"<RetryBudget {self.share:.0%} waiting={self._waiting:g} {self._sums!r}>"


def stretched(delay: float, wait: float, random: float) -> float:
    """Seconds until the next attempt of a request: its own backoff, or longer if the budget is spent.
    `random` in [0, 1) spreads what was put off in one tick."""
    return max(delay, min(wait, LONGEST) * (1.0 + random / 4))
