"""The breaker: a service that mostly fails is left alone, then asked carefully.

closed --(share of failures over the window)--> open --(time)--> half-open --(probes)--> closed, or open again

- Counted are attempts that were sent: timeouts, broken exchanges and 5xx are failures. A failed connect is
  not: the service rests for it (`rest.py`), for seconds, and nothing is used up.
- Who wins: open stands above a rest, for while it is open nobody connects. A rest stands above half-open: a
  probe that cannot connect, or is told to come back later, decides nothing, and the next one goes when the
  rest is over.
- Each failed round of probes doubles the time it stays open, up to LONGEST times `open`.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

from bufferproxy.policy.sliding import Sliding

PROBES = 3
"""Attempts that decide a round: more than one, lest one bad request keeps a sound service closed off."""

LONGEST = 4.0
"""The open time grows to so many times `open`: what an outage of any length costs after its end."""

JITTER = 0.1
"""The open time is up to this part longer: services that failed together are not all asked together."""

FORGIVEN = 3
"""How many failed probes cost a request no attempt. Not all of them: else a request that always fails, and
always is the oldest, would keep the breaker from closing for ever."""


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class BreakerRule(NamedTuple):
    """`failures`: share in (0, 1]; `window`, `open`: seconds; `minimum`: attempts to judge by."""

    failures: float = 0.5
    window: float = 10.0
    minimum: int = 20
    open: float = 30.0
    shadow: bool = False


class Breaker:
    __slots__ = ("_closed_at", "_counts", "_rounds", "era", "rule", "state", "until")

    def __init__(self, rule: BreakerRule) -> None:
        self.rule = rule
        self.state = State.CLOSED
        self.era = 0
        """Rises with each change of state."""
        self.until = -math.inf
        """When it has been open for long enough."""
        self._rounds = 0
        """How often it opened without having been closed for as long as it was open."""
        self._closed_at = -math.inf
        self._counts = Sliding(rule.window)

    def change(self, rule: BreakerRule) -> None:
        """New settings; the state stays."""
        if rule.window != self.rule.window:
            self._counts = Sliding(rule.window)
        self.rule = rule

    def observe(self, era: int, judged: float, failures: float, now: float, random: float) -> None:
        """`judged` attempts sent in `era` have ended, `failures` of them badly. `random` in [0, 1)."""
        if era != self.era or self.state is State.OPEN or not judged:
            return
        if self.state is State.CLOSED:
            self._counts.add(now, failures, judged)
            failed, of = self._counts.sums(now)
            if of >= self.rule.minimum and failed >= self.rule.failures * of:
                self._open(now, random)
            return
        # A round of probes has no window: slow ones, or a service seldom used, may take any time.
        self._counts.add(self.until, failures, judged)
        failed, of = self._counts.sums(self.until)
        if failed >= self.rule.failures * max(PROBES, of):
            self._open(now, random)
        elif of >= PROBES:
            self._turn(State.CLOSED)
            self._closed_at = now

    def tick(self, now: float) -> None:
        if self.state is State.OPEN and now >= self.until:
            self._turn(State.HALF_OPEN)

    def resume(self, state: State, era: int, left: float, now: float) -> None:
        """Go on where a former leader's breaker stood; `left` seconds of being open are left."""
        self.state, self.era, self.until = state, era, now + left
        self._counts.clear()

    def left(self, now: float) -> float:
        """Seconds until the next probe, 0.0 unless open."""
        return max(0.0, self.until - now) if self.state is State.OPEN else 0.0

    def _open(self, now: float, random: float) -> None:
        if self.state is State.CLOSED and now - self._closed_at > self._seconds():
            self._rounds = 0
        self._rounds += 1
        self._turn(State.OPEN)
        self.until = now + self._seconds() * (1 + JITTER * random)

    def _seconds(self) -> float:
        return self.rule.open * min(LONGEST, 2.0 ** max(0, min(self._rounds, 30) - 1))

    def _turn(self, state: State) -> None:
        self.state = state
        self.era += 1
        self._counts.clear()

    def __repr__(self) -> str:
        return f"<Breaker {self.state} era={self.era} rounds={self._rounds} {self._counts!r}>"


def forgives(state: State, *, sends: int, attempts: int) -> bool:
    """Whether a failure costs its request no attempt: while the breaker is not closed, the service is to
    blame, whether it was sent before that or as a probe. `sends` that may have reached the service, this one
    included; `attempts` used up before it. It still waits its backoff: the next round asks others."""
    return state is not State.CLOSED and sends - attempts <= FORGIVEN
