"""Back to the full rate, but not at once: caches are cold, and everybody has been waiting.

Armed, it stays at its start until something is sent, however long that takes; from then on it climbs in a
straight line. Nothing is missed if the first request comes before anybody has noticed the long silence.
"""

from __future__ import annotations

import math

START = 0.1
"""Share of the ceiling to begin with."""

SLOWEST = 1.0
"""Per second: a ramp does not begin below this, or a slow service would wait for minutes for its first."""


class Ramp:
    """`seconds` from START to all of it; 0: none."""

    __slots__ = ("_armed", "_since", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._armed = False
        self._since = -math.inf

    def arm(self) -> None:
        self._armed = True

    def sent(self, now: float) -> None:
        """Something was sent."""
        if self._armed:
            self._armed, self._since = False, now

    def resume(self, share: float, now: float) -> None:
        """Go on where a former leader's ramp stood."""
        self._armed = False
        self._since = now - max(0.0, share - START) / (1 - START) * self.seconds if share < 1 else -math.inf

    def share(self, now: float) -> float:
        """From START to 1.0, of whatever is ramped."""
        if not self.seconds:
            return 1.0
        if self._armed:
            return START
        return min(1.0, START + (1 - START) * (now - self._since) / self.seconds)

    def rate(self, ceiling: float, now: float) -> float:
        """Per second. Unlimited stays so: then the concurrency is ramped."""
        share = self.share(now)
        return ceiling if share >= 1.0 else max(ceiling * share, min(ceiling, SLOWEST))

    def __repr__(self) -> str:
        return f"<Ramp {self.seconds:g} s armed={self._armed} since={self._since:.3f}>"
