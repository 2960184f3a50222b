"""The rate ceiling: a token bucket that keeps the promise in windows, not on average.

Promise P3: in every window of W >= 0.1 s at most `rate * W + burst` sends. A bucket that fills at `r` and
holds `c` lets through at most `r * W + c`. With `c = burst` exactly, every wake-up that comes a little late
loses tokens for ever and the rate is never reached; so the bucket holds SLACK seconds of rate more than the
burst, and fills just so much more slowly that the promise still holds in its shortest window:

    r * W + burst + rate * SLACK <= rate * W + burst      for W >= WINDOW,   r = rate * (1 - SLACK / WINDOW)

What a late wake-up may catch up (2 ms, and the time to earn the burst) is therefore paid for by 2 % of the
rate, and the 10 ms that the promise allows for jitter are left to the network.
"""

from __future__ import annotations

import math

WINDOW = 0.1
SLACK = 0.002


class TokenBucket:
    """`rate` in tokens per second (inf: unlimited), `burst` in tokens. Begins empty."""

    __slots__ = ("_capacity", "_fill", "_rate", "_since", "_tokens", "burst")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._tokens = 0.0
        self._since = now
        self._set(rate, burst)

    @property
    def rate(self) -> float:
        return self._rate

    def rate_at(self, now: float) -> float:
        """The same at any moment: only a lease runs out."""
        return self._rate

    def change(self, rate: float, burst: float, now: float) -> None:
        """New limits from now on; what was earned stays, as far as it fits."""
        self._earn(now)
        self._set(rate, burst)
        self._tokens = min(self._tokens, self._capacity)

    def empty(self, now: float) -> None:
        """Forget what was earned: a pause, take-over or hand-over begins with no tokens."""
        self._tokens = 0.0
        self._since = now

    def take(self, now: float) -> float:
        """Take a token and return 0.0, or return the seconds until there is one (inf: the rate is 0)."""
        if self._rate == math.inf:
            return 0.0
        self._earn(now)
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._fill if self._fill else math.inf

    def ahead(self, now: float) -> float:
        """Seconds until there is a token, which stays."""
        self._earn(now)
        missing = max(0.0, 1.0 - self._tokens)
        return missing / self._fill if self._fill else math.inf

    def sent(self) -> None:
        """What a token was taken for is sent now: nothing more to count here."""

    def unsent(self) -> None:
        """It could not be sent after all."""
        self.give_back()

    def give_back(self) -> None:
        """A token was taken and nothing was sent. At once only: what is given back after the bucket was full
        again would be sent on top of what it has earned since."""
        self._tokens = min(self._tokens + 1.0, self._capacity)

    def lapse(self) -> None:
        """A token was taken, and its moment has passed: it is lost."""

    def holds(self, now: float) -> bool:
        """Only a lease runs out."""
        return True

    def _set(self, rate: float, burst: float) -> None:
        self._rate = rate
        self.burst = burst
        self._fill = rate * (1 - SLACK / WINDOW)
        self._capacity = burst + rate * SLACK

    def _earn(self, now: float) -> None:
        if self._rate == math.inf:
            self._since = now
            return
        self._tokens = min(self._capacity, self._tokens + (now - self._since) * self._fill)
        self._since = now

    def __repr__(self) -> str:
        return f"<TokenBucket {self._rate:g}/s burst={self.burst:g} tokens={self._tokens:.2f}>"
