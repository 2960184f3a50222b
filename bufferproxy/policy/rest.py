"""When the whole service rests: a cause that belongs to the service, not to a request.

A refused connect rests it for a growing while, and then one probe (the oldest request) goes ahead of the
others: they follow when it was connected. A `Retry-After` or a pause rests it for as long as it says.
No record is moved and no attempt used up by any of it.
"""

from __future__ import annotations

import math

FIRST = 0.1
LONGEST = 5.0


class Rest:
    __slots__ = ("_failures", "_probing", "detail", "reason", "until")

    def __init__(self) -> None:
        self.until = -math.inf
        self.reason = ""
        self.detail = ""
        self._failures = 0
        self._probing = False

    def unreachable(self, now: float, random: float, detail: str) -> float:
        """A connect failed. Returns how long the service rests; `random` in [0, 1) spreads replicas."""
        if not self._probing and now < self.until:
            return self.until - now  # others failed in the same moment: one outage, one step of backoff
        self._probing = False
        self._failures += 1
        seconds = min(LONGEST, FIRST * 2.0 ** min(self._failures - 1, 30)) * (0.5 + random / 2)
        self._begin(now + seconds, "connect", detail)
        return seconds

    def asked(self, now: float, seconds: float, detail: str) -> None:
        """The service asked to be left alone for `seconds`; the longest wish holds."""
        self._begin(now + seconds, "retry_after", detail)

    @property
    def troubled(self) -> bool:
        """The last word of the service was a refused connect, or a probe is under way."""
        return self._failures > 0 or self._probing

    def reached(self) -> None:
        """A connect worked: all may follow."""
        self._failures = 0
        self._probing = False

    def forgo(self) -> None:
        """Who was let go does not try after all. If it was the probe, the next one is."""
        self._probing = False

    def wait(self, now: float) -> float:
        """Seconds that a request must wait before it may connect (inf: until the probe is back);
        0.0 lets it go, and makes it the probe if one is due."""
        if now < self.until:
            return self.until - now
        if self._failures == 0:
            return 0.0
        if self._probing:
            return math.inf
        self._probing = True
        return 0.0

    def remaining(self, now: float) -> float:
        """Seconds of rest left, 0.0 when there is none. Asks for no probe."""
        return max(0.0, self.until - now)

    def _begin(self, until: float, reason: str, detail: str) -> None:
        if until > self.until:
            self.until, self.reason, self.detail = until, reason, detail

    def __repr__(self) -> str:
        return f"<Rest until={self.until:.3f} reason={self.reason!r} failures={self._failures}>"
