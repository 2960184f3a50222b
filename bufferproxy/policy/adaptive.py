"""How many attempts may be in flight, found out from what the service does with them.

Two rules, the lower of which holds:

1. *Signs of load* (429, 503, timeouts) cut the limit by the share of attempts that met them, by a tenth at
   least and a half at most, once per round trip. The way back is TCP CUBIC's (RFC 9438): quickly most of the
   way, long in the neighbourhood of where it was too much, then beyond it. Where each touch of that wall
   costs a `Retry-After`, it is touched once in HOLD seconds, not every few round trips.
2. *Growing latency* is a queue in the service, which makes nobody faster. Latency beyond TOLERANCE times the
   base cuts in proportion; below it the limit grows by its square root (the gradient of Envoy's adaptive
   concurrency and Netflix' Gradient2).

What is the base? An average over a long time creeps up with the queue it shall find, and the least ever seen
never forgives a service that has become slower by itself. So it is found by trying: a *dip* to half the limit
now and then; and every cut is a trial too. Latency that stays as it was with fewer in flight was not made by
them, and is the base from then on.

The limit grows only while it is used, and each judgement rests on attempts begun after the last change.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from bufferproxy.policy.tally import Ending, Tally

TOLERANCE = 1.25
FALL, DRIFT = 0.3, 0.002
"""How far the base follows a judgement below it; and one above it in shadow, where nothing can be tried."""

STEEPEST = 0.5
"""The gradient is no lower: an outlier costs half the limit at most."""

SAMPLES = 30
"""Response times to judge by. Means of fewer differ by chance alone."""

PATIENCE = 10.0
"""Seconds after which FEWER response times do: a slow service is not asked SAMPLES times per judgement."""
FEWER = 8

USED = 0.8
"""Share of the limit that must have been in flight for it to count as used."""

TRIAL = 0.7
SAME = 0.85
"""After a cut to TRIAL or below, latency above SAME of what it was has stayed the same. Small cuts tell
nothing: what they change is within what it varies by itself, and the base would creep up with them."""

NOISE = 0.02
"""Fewer signs of load than this share of the attempts are somebody's bad luck."""
LEAST_CUT, LARGEST_CUT = 0.1, 0.5

HOLD = 90.0
"""Seconds from a cut to where it was too much."""

DIP = 30.0
DIP_ROUNDS = 60
"""A dip every DIP seconds, or DIP_ROUNDS round trips if that is longer: it costs a few at half speed."""

QUEUED = 0.55
"""A dip that brings latency down to this part or below has cost nothing."""

TOLD = 0.5
"""Seconds until all replicas have been told of a change, and what came of it has been reported."""

BEGIN = 20


class AdaptiveRule(NamedTuple):
    min: int = 2
    max: int = 200
    shadow: bool = False


class Adaptive:
    __slots__ = (
        "_before", "_blind_until", "_cut_after", "_dip_at", "_gap", "_limit", "_peak", "_round", "_sample",
        "_saved", "_since", "_wall", "_walled_at", "base", "rule",
    )  # fmt: skip

    def __init__(self, rule: AdaptiveRule, now: float) -> None:
        self.rule = rule
        self._limit = float(min(max(BEGIN, rule.min), rule.max))
        self.base = 0.0
        """Seconds that a response takes while there is no queue; 0.0 until it is known."""
        self._round = 0.0
        """Seconds of a round trip lately."""
        self._before: float | None = None
        """Latency before the last large cut, until it is known what came of it."""
        self._saved: tuple[float, float] | None = None
        """During a dip: limit and latency before it."""
        self._dip_at = now
        self._cut_after = -math.inf
        self._wall = math.inf
        self._gap = 0.0
        self._walled_at = -math.inf
        self._since = self._blind_until = now
        self._sample = (0.0, 0)
        self._peak = 0.0

    @property
    def limit(self) -> int:
        return int(self._limit)

    def change(self, rule: AdaptiveRule) -> None:
        self.rule = rule
        self._limit = self._within(self._limit)

    def resume(self, limit: int) -> None:
        """Go on with the limit of a former leader."""
        self._limit = self._within(limit)

    def observe(self, tally: Tally, now: float) -> None:
        """Once per tick, with all that ended in it."""
        ended = tally.answers
        if tally.signs_of_load > NOISE * ended:
            self._overloaded(tally, ended, now)
        if now < self._blind_until:
            return
        seconds, timed = self._sample
        self._sample = (seconds + tally.seconds, timed + tally.timed)
        self._peak = max(self._peak, tally.in_flight, self._limit if tally.waited else 0)
        seconds, timed = self._sample
        elapsed = now - self._since
        if timed >= (SAMPLES if elapsed < PATIENCE else FEWER) and elapsed >= self._round:
            self._judge(seconds / timed, now)

    # --- signs of load ---

    def _overloaded(self, tally: Tally, ended: int, now: float) -> None:
        if now < self._cut_after:
            return
        size = max(1.0, self._size(tally.in_flight))
        share = min(LARGEST_CUT, max(LEAST_CUT, tally.signs_of_load / ended))
        self._limit = self._within(size * (1 - share))
        # At the least limit nothing was cut, and still it is not the time to grow.
        self._wall, self._gap, self._walled_at = size, max(1.0, size - self._limit), now
        self._cut_after = now + self._trip(tally) + TOLD
        self._before = self._saved = None
        self._blind(now, self._trip(tally) + TOLD)

    def _trip(self, tally: Tally) -> float:
        """Until what was in flight at the cut has ended: it will meet what the cut was made for."""
        return tally.slowest if tally.count(Ending.TIMEOUT) else max(self._round, tally.slowest)

    def _allowed(self, now: float) -> float:
        """What the last sign of load allows by now."""
        way = (now - self._walled_at) / HOLD - 1
        return self._wall + self._gap * way**3 if self._gap else math.inf

    # --- growing latency ---

    def _judge(self, latency: float, now: float) -> None:
        used = self._peak >= USED * self._limit
        self._round = latency
        if self._saved is not None:
            self._surface(*self._saved, latency, now)
            return
        self._learn(latency)
        if used and now >= self._dip_at and self._limit > self.rule.min and not self.rule.shadow:
            self._dip(now, latency)
        elif used or TOLERANCE * self.base <= STEEPEST * latency:
            # So slow that what is in flight is too much, limit or not; or the limit holds it back.
            self._follow(latency, now)
        else:
            self._blind(now)

    def _follow(self, latency: float, now: float) -> None:
        """The gradient."""
        size = self._size(self._peak)
        gradient = min(1.0, max(STEEPEST, TOLERANCE * self.base / latency))
        # No room to grow in the steepest cut: it has to be large enough to learn the base from.
        wanted = size * gradient + (math.sqrt(size) if gradient > STEEPEST else 0.0)
        new = self._within(min(wanted, self._allowed(now)))
        self._before = latency if new <= TRIAL * size else None
        cut, self._limit = new < self._limit, new
        self._blind(now, latency + TOLD if cut else 0.0)

    def _learn(self, latency: float) -> None:
        """Of the base."""
        before, self._before = self._before, None
        if not self.base:
            self.base = latency
        elif self.rule.shadow:
            self.base += (latency - self.base) * (FALL if latency < self.base else DRIFT)
        elif latency < self.base:
            self.base += FALL * (latency - self.base)
        elif self._limit <= self.rule.min or (before is not None and latency >= SAME * before):
            self.base = latency

    def _dip(self, now: float, latency: float) -> None:
        self._dip_at = now + max(DIP, DIP_ROUNDS * latency)
        self._saved = self._limit, latency
        self._limit = self._within(self._limit / 2)
        self._blind(now, latency + TOLD)

    def _surface(self, limit: float, before: float, latency: float, now: float) -> None:
        """Half as many in half the time are just as many per second: then the other half only queued, and so
        may some of this one."""
        self.base, self._saved = latency, None
        if latency <= QUEUED * before:
            self._dip_at = now
        else:
            self._limit = self._within(limit)
        self._blind(now, latency + TOLD)

    # --- both ---

    def _size(self, in_flight: float) -> float:
        """What was too much, or not: the limit if it was reached. In shadow it holds nobody back."""
        return in_flight if self.rule.shadow else min(self._limit, in_flight)

    def _within(self, limit: float) -> float:
        return min(float(self.rule.max), max(float(self.rule.min), limit))

    def _blind(self, now: float, seconds: float = 0.0) -> None:
        """Begin a new sample, in `seconds`: what was sent before tells of the time before."""
        self._blind_until = self._since = now + seconds
        self._sample = (0.0, 0)
        self._peak = 0.0

    def __repr__(self) -> str:
        return (
            f"<Adaptive {self._limit:.1f} base={self.base:.4f} round={self._round:.4f} wall={self._wall:.1f}>"
        )
