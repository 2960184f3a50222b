"""What became of the attempts of one report interval, as sums: those of all replicas can be added up.

Counting one costs some additions; what they mean is decided at the tick, by whoever leads. A tally belongs
to an `era`: the breaker's state under which attempts were sent. An attempt from an earlier era says nothing
about the present one (it was sent before the breaker opened, and times out while the probes succeed), so it
is counted, but not judged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import IntEnum


class Ending(IntEnum):
    """How an attempt ended, as far as the service's health is concerned."""

    SERVED = 0
    """2xx, 3xx, 4xx: it did its work."""
    FAILED = 1
    """5xx other than 503."""
    TIMEOUT = 2
    INTERRUPTED = 3
    OVERLOADED = 4
    """503 without Retry-After: a failure, and a sign of too much load."""
    REFUSED = 5
    """429, 503 with Retry-After: it protects itself. No failure, but a sign of too much load."""
    CONNECT = 6
    """Nothing was sent."""
    PLAIN = 7
    """Sent, and nobody's failure: 408, 425, `Bufferproxy-Outcome: retry` or `pause`."""


JUDGED = tuple(e for e in Ending if e not in (Ending.REFUSED, Ending.CONNECT))
FAILURES = (Ending.FAILED, Ending.TIMEOUT, Ending.INTERRUPTED, Ending.OVERLOADED)
SIGNS_OF_LOAD = (Ending.TIMEOUT, Ending.OVERLOADED, Ending.REFUSED)

_SUMS = ("first", "retries", "planned", "seconds", "in_flight", "waited")
_MOST = ("slowest", "rest")
_ENDS = tuple((ending.name.lower(), f"past_{ending.name.lower()}") for ending in Ending)


class Tally:
    __slots__ = (*_SUMS, *_MOST, "ends", "era", "past")

    def __init__(self, era: int = 0) -> None:
        self.era = era
        self.ends = [0] * len(Ending)
        """How often each ending was met by attempts of this era."""
        self.past = [0] * len(Ending)
        """The same of attempts sent in another."""
        self.first = 0
        """First attempts sent."""
        self.retries = 0
        """Attempts sent that were not the first of their request."""
        self.planned = 0
        """Retries put off for later."""
        self.seconds = 0.0
        """Response times of what was served, added up."""
        self.slowest = 0.0
        """Seconds that the longest attempt of any ending took: what a round trip may come to."""
        self.in_flight = 0
        """The most at any one time."""
        self.waited = 0
        """How many were held back because the concurrency was used up."""
        self.rest = 0.0
        """Seconds that the service still wants to be left alone."""

    def sent(self, *, again: bool) -> int:
        """An attempt goes out. Returns the era, to be given back to `ended`."""
        if again:
            self.retries += 1
        else:
            self.first += 1
        return self.era

    def unsent(self, *, again: bool) -> None:
        """It did not go out after all."""
        if again:
            self.retries -= 1
        else:
            self.first -= 1

    def ended(self, ending: int, seconds: float, era: int) -> None:
        """Called for each attempt: nothing here that can be worked out at the tick."""
        if era == self.era:
            self.ends[ending] += 1
        else:
            self.past[ending] += 1
        if seconds > self.slowest:
            self.slowest = seconds
        if not ending:
            self.seconds += seconds

    def turn(self, era: int) -> None:
        """The breaker's state has changed: what was counted so far belongs to the past."""
        if era != self.era:
            self.era = era
            self.past = _added(self.past, self.ends)
            self.ends = [0] * len(Ending)

    def add(self, other: Tally) -> None:
        """Take in what another replica counted."""
        if other.era > self.era:
            self.turn(other.era)
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _MOST:
            setattr(self, name, max(getattr(self, name), getattr(other, name)))
        self.past = _added(self.past, other.past)
        if other.era == self.era:
            self.ends = _added(self.ends, other.ends)
        else:
            self.past = _added(self.past, other.ends)

    # --- what it comes to ---

    def count(self, ending: Ending) -> int:
        return self.ends[ending] + self.past[ending]

    @property
    def judged(self) -> int:
        """Attempts of this era that say whether the service is well."""
        return sum(self.ends[ending] for ending in JUDGED)

    @property
    def failures(self) -> int:
        return sum(self.ends[ending] for ending in FAILURES)

    @property
    def judged_ever(self) -> int:
        """As `judged`, whatever era they were sent in."""
        return sum(map(self.count, JUDGED))

    @property
    def failures_ever(self) -> int:
        return sum(map(self.count, FAILURES))

    @property
    def timed(self) -> int:
        """Of how many attempts `seconds` are the response times."""
        return self.count(Ending.SERVED)

    @property
    def answers(self) -> int:
        """Attempts that were sent and have ended."""
        return sum(self.ends) + sum(self.past) - self.count(Ending.CONNECT)

    @property
    def signs_of_load(self) -> int:
        return sum(self.count(ending) for ending in SIGNS_OF_LOAD)

    # --- on the wire ---

    def encode(self) -> dict[str, float]:
        """Numbers only, zeros left out."""
        said: dict[str, float] = {name: getattr(self, name) for name in (*_SUMS, *_MOST, "era")}
        for (name, past), count, before in zip(_ENDS, self.ends, self.past, strict=True):
            said[name], said[past] = count, before
        return {name: value for name, value in said.items() if value}

    @classmethod
    def decode(cls, said: Mapping[str, float]) -> Tally:
        """Names it does not know are a newer version's. Raises ValueError for what cannot be a count."""
        tally = cls(int(_number(said, "era")))
        for name in (*_SUMS, *_MOST):
            setattr(tally, name, _number(said, name))
        tally.ends = [int(_number(said, name)) for name, _ in _ENDS]
        tally.past = [int(_number(said, past)) for _, past in _ENDS]
        return tally

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tally) and self.encode() == other.encode()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Tally {self.encode()}>"


def _added(some: list[int], more: list[int]) -> list[int]:
    return [a + b for a, b in zip(some, more, strict=True)]


def _number(said: Mapping[str, float], name: str) -> float:
    value = said.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{name}: {value!r}")
    return value
