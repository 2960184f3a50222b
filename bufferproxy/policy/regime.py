"""What a service may be sent right now, by all replicas together, and why not more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from bufferproxy.policy.breaker import State

REASONS = ("ceiling", "concurrency", "retry_after", "breaker", "ramp", "adaptive", "paused")
"""Of throttled_seconds_total. The places are what is encoded: append only."""

STATES = tuple(State)


class Regime(NamedTuple):
    rate: float
    """Attempts per second; inf: unlimited, 0.0: none."""
    rate_reason: str
    """What a request waits for that waits for its token."""
    concurrency: int
    """Attempts in flight; 0 while nothing may be sent."""
    concurrency_reason: str
    """What a request waits for that waits for another to end."""
    binding: str
    """Which of the two reasons holds somebody back; `ceiling` when nobody is."""
    left: float = 0.0
    """Seconds until something may be sent again; inf: until somebody resumes it."""
    era: int = 0
    """Of the breaker: attempts are counted under it (`tally.py`)."""
    breaker: State = State.CLOSED
    """As measured; with `shadow` it holds nobody back."""
    forgiving: State = State.CLOSED
    """The breaker's state if it is enforced: for `breaker.forgives`."""
    ramp: float = 1.0
    """Share of the ceiling that the ramp has reached."""
    adaptive: int = 0
    """The limit found, enforced or not; 0: none is looked for."""
    retry_rate: float = math.inf
    """Retries per second, within `rate`."""
    retry_wait: float = 0.0
    """Seconds that a retry put off now must wait at least (`budget.stretched`)."""
    shadow: tuple[str, ...] = ()
    """What would hold requests back if it were not in shadow: `breaker`, `adaptive`."""

    def encode(self) -> dict[str, float]:
        """Numbers only; infinity is -1."""
        return {
            "rate": _finite(self.rate),
            "rate_reason": REASONS.index(self.rate_reason),
            "concurrency": self.concurrency,
            "concurrency_reason": REASONS.index(self.concurrency_reason),
            "binding": REASONS.index(self.binding),
            "left": _finite(self.left),
            "era": self.era,
            "breaker": STATES.index(self.breaker),
            "forgiving": STATES.index(self.forgiving),
            "ramp": self.ramp,
            "adaptive": self.adaptive,
            "retry_rate": _finite(self.retry_rate),
            "retry_wait": self.retry_wait,
            "shadow": sum(1 << REASONS.index(reason) for reason in self.shadow),
        }

    @classmethod
    def decode(cls, said: Mapping[str, float]) -> Regime:
        """Raises ValueError for what is no regime."""
        try:
            mask = int(said["shadow"])
            return cls(
                rate=_infinite(said["rate"]),
                rate_reason=REASONS[int(said["rate_reason"])],
                concurrency=int(said["concurrency"]),
                concurrency_reason=REASONS[int(said["concurrency_reason"])],
                binding=REASONS[int(said["binding"])],
                left=_infinite(said["left"]),
                era=int(said["era"]),
                breaker=STATES[int(said["breaker"])],
                forgiving=STATES[int(said["forgiving"])],
                ramp=float(said["ramp"]),
                adaptive=int(said["adaptive"]),
                retry_rate=_infinite(said["retry_rate"]),
                retry_wait=float(said["retry_wait"]),
                shadow=tuple(reason for place, reason in enumerate(REASONS) if mask >> place & 1),
            )
        except (KeyError, IndexError, TypeError, OverflowError) as error:
            raise ValueError(f"no regime: {said!r}") from error


def _finite(value: float) -> float:
    return -1.0 if value == math.inf else value


def _infinite(value: float) -> float:
    return math.inf if value < 0 else float(value)
