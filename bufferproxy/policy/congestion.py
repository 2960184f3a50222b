"""One congestion controller per service: counts of all replicas in, one regime for all of them out.

Whoever leads a service (with one process: that process) feeds it the tallies of each report interval and
tells the replicas its regime. What stands in the way, the strongest first:

    paused > open breaker > the service asked for a rest > probes of a half-open breaker > ramp > ceiling

and for what is in flight: probes > adaptive limit > concurrency. A connect that fails rests the replica that
met it, at once and by itself (`rest.py`): it may be the only one cut off. Here it only counts as silence.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from bufferproxy.policy.adaptive import Adaptive, AdaptiveRule
from bufferproxy.policy.breaker import PROBES, Breaker, BreakerRule, State
from bufferproxy.policy.budget import RetryBudget
from bufferproxy.policy.ramp import Ramp
from bufferproxy.policy.regime import Regime
from bufferproxy.policy.tally import Ending, Tally

PROBE_RATE = 3.0
"""Per second. Until the first answers are reported and judged, no more than a round or two of them go."""

IDLE = 600.0
"""Seconds without a request after which a service begins with a ramp. A rest or an outage as long as the
ramp itself does too: then somebody is waiting."""


class Settings(NamedTuple):
    """`rate` per second, `ramp` seconds, `budget` as a share; `adaptive` None: `concurrency` is fixed."""

    rate: float
    concurrency: int = 20
    adaptive: AdaptiveRule | None = None
    breaker: BreakerRule = BreakerRule()
    ramp: float = 30.0
    budget: float = 0.2


class Congestion:
    __slots__ = (
        "_adaptive", "_breaker", "_budget", "_crowded", "_paused", "_ramp", "_rest_until", "_sent_at",
        "_settings", "_troubled",
    )  # fmt: skip

    def __init__(self, settings: Settings, now: float) -> None:
        self._settings = settings
        self._breaker = Breaker(settings.breaker)
        self._adaptive = Adaptive(settings.adaptive, now) if settings.adaptive else None
        self._budget = RetryBudget(settings.budget)
        self._ramp = Ramp(settings.ramp)
        self._rest_until = -math.inf
        self._paused = False
        self._sent_at = now
        self._troubled = False
        """The silence since `_sent_at` is the service's doing."""
        self._crowded = False
        """Somebody waited for another to end."""

    # --- what it is told ---

    def feed(self, tally: Tally, now: float, random: float) -> None:
        """What all replicas counted since the last time. `random` in [0, 1)."""
        self._budget.observe(tally.first, tally.retries, tally.planned, now)
        self._budget.ended(tally.judged_ever, tally.failures_ever, now)
        if tally.rest > 0:
            self._rest_until = max(self._rest_until, now + tally.rest)
        self._listen(tally, now)  # before a ramp is armed: what was sent until now does not begin it
        before = self._breaker.state
        self._breaker.observe(tally.era, tally.judged, tally.failures, now, random)
        if before is State.HALF_OPEN and self._breaker.state is State.CLOSED and not self._shadowed:
            self._ramp.arm()
        if self._adaptive is not None:
            self._adaptive.observe(tally, now)
        self._crowded = tally.waited > 0

    def pause(self, now: float, *, paused: bool) -> None:
        """By an operator."""
        if self._paused and not paused:
            self._ramp.arm()
            self._sent_at = now
        self._paused = paused

    def change(self, settings: Settings, now: float) -> None:
        """New settings; what was learnt stays."""
        self._settings = settings
        self._breaker.change(settings.breaker)
        self._budget.share = settings.budget
        self._ramp.seconds = settings.ramp
        if settings.adaptive is None:
            self._adaptive = None
        elif self._adaptive is None:
            self._adaptive = Adaptive(settings.adaptive, now)
        else:
            self._adaptive.change(settings.adaptive)

    def inherit(self, regime: Regime, now: float) -> None:
        """This replica leads from now on; `regime` is the last that it was told. What only the former leader
        knew (the window of the breaker, the base of the latency) is learnt anew."""
        left = regime.left if regime.left < math.inf else 0.0
        self._breaker.resume(regime.breaker, regime.era, left, now)
        self._ramp.resume(regime.ramp, now)
        if regime.rate_reason == "retry_after":
            self._rest_until = now + left
        if self._adaptive is not None and regime.adaptive:
            self._adaptive.resume(regime.adaptive)

    # --- what it answers ---

    def regime(self, now: float) -> Regime:
        self._breaker.tick(now)
        state = State.CLOSED if self._shadowed else self._breaker.state
        rate, rate_reason, left = self._rate(state, now)
        limit, limit_reason = self._concurrency(state, now)
        limit = limit if rate else 0
        return Regime(
            rate=rate,
            rate_reason=rate_reason,
            concurrency=limit,
            concurrency_reason=limit_reason,
            binding=limit_reason if self._crowded and rate else rate_reason,
            left=left,
            era=self._breaker.era,
            breaker=self._breaker.state,
            forgiving=state,
            ramp=self._ramp.share(now),
            adaptive=0 if self._adaptive is None else self._adaptive.limit,
            retry_rate=self._budget.rate(now),
            retry_wait=self._budget.wait(now),
            shadow=self._findings(),
        )

    # --- how ---

    @property
    def _shadowed(self) -> bool:
        return self._settings.breaker.shadow

    def _rate(self, state: State, now: float) -> tuple[float, str, float]:
        """(per second, why not more, seconds left of none at all)."""
        ceiling, rest = self._settings.rate, self._rest_until - now
        if self._paused:
            return 0.0, "paused", math.inf
        if state is State.OPEN:
            return 0.0, "breaker", max(self._breaker.left(now), rest)
        if rest > 0:
            return 0.0, "retry_after", rest
        if state is State.HALF_OPEN:
            return min(ceiling, PROBE_RATE), "breaker", 0.0
        ramped = self._ramp.rate(ceiling, now)
        return ramped, "ramp" if self._ramp.share(now) < 1 else "ceiling", 0.0

    def _concurrency(self, state: State, now: float) -> tuple[int, str]:
        limit, why = self._settings.concurrency, "concurrency"
        adaptive = self._adaptive
        if adaptive is not None:
            limit = adaptive.rule.max
            if not adaptive.rule.shadow and adaptive.limit < limit:
                limit, why = adaptive.limit, "adaptive"
        if state is State.HALF_OPEN and limit > PROBES:
            return PROBES, "breaker"
        share = self._ramp.share(now)
        if self._settings.rate == math.inf and share < 1:
            return max(1, int(limit * share)), "ramp"
        return limit, why

    def _findings(self) -> tuple[str, ...]:
        found = []
        if self._shadowed and self._breaker.state is not State.CLOSED:
            found.append("breaker")
        adaptive = self._adaptive
        if adaptive is not None and adaptive.rule.shadow and adaptive.limit < adaptive.rule.max:
            found.append("adaptive")
        return tuple(found)

    def _listen(self, tally: Tally, now: float) -> None:
        """For silence: what follows a long one begins with a ramp."""
        if tally.first or tally.retries:
            self._ramp.sent(now)
        if tally.first or tally.retries or tally.in_flight:
            self._sent_at, self._troubled = now, False
            return
        self._troubled = self._troubled or tally.rest > 0 or tally.count(Ending.CONNECT) > 0
        if now - self._sent_at >= (min(IDLE, self._settings.ramp) if self._troubled else IDLE):
            self._ramp.arm()

    def __repr__(self) -> str:
        return (
            f"<Congestion {self._breaker!r} {self._adaptive!r} {self._ramp!r} {self._budget!r} "
            f"paused={self._paused}>"
        )
