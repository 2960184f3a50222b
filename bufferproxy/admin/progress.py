"""Does the work move? A worker that is connected, healthy and delivers nothing is the failure nobody sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from bufferproxy.admin.contract import Check

if TYPE_CHECKING:
    from bufferproxy.clock import Clock


UNSEEN = 10.0
"""Seconds between two looks after which the first tells nothing any more: the machine was suspended."""


class Seen(NamedTuple):
    """One look at the work of one service on this replica."""

    work: int
    """What this replica could deliver now: ready and in flight, of the partitions it reads."""
    moved: float
    """Rises with each attempt and each end: which number it is does not matter."""
    excused: bool
    """It may not deliver: paused, resting, not allowed a rate."""
    allowed: float
    """Deliveries per second that are its part of the service's rate, on average."""
    trouble: str = ""
    """Why nothing can go on, whatever moves; empty when nothing is known."""


class Progress:
    """Pure: told what was seen when, says for how long there was work that did not move."""

    def __init__(self) -> None:
        self._moved = -1.0
        self._since = self._looked = 0.0

    def look(self, now: float, seen: Seen) -> float:
        slept = now - self._looked > UNSEEN
        if seen.moved != self._moved or seen.work == 0 or seen.excused or slept:
            self._moved = seen.moved
            self._since = now
        self._looked = now
        return now - self._since


def patience_for(allowed: float, patience: float) -> float:
    """Seconds without movement that are no cause for alarm: at 1/min one a minute is what was asked for."""
    return patience if allowed <= 0 else max(patience, 3 / allowed)


class ProgressWatch:
    """A check for readiness: every service that has work moves it. `register` each service that this
    replica drains, with the seconds that one attempt may take at most."""

    def __init__(self, clock: Clock, grace: float = 30.0) -> None:
        self._clock = clock
        self._grace = grace
        self._services: dict[str, tuple[Callable[[], Seen], float, Progress]] = {}

    def register(self, service: str, look: Callable[[], Seen], timeout: float) -> None:
        self._services[service] = (look, timeout + self._grace, Progress())

    def forget(self, service: str) -> None:
        self._services.pop(service, None)

    def check(self) -> Check:
        """Must be called at least every few seconds, for it only sees movement between two calls."""
        now = self._clock.now()
        stuck = []
        for service, (look, patience, progress) in self._services.items():
            seen = look()
            still = progress.look(now, seen)
            if seen.trouble:
                stuck.append(f"{service}: {seen.trouble}")
            elif still > patience_for(seen.allowed, patience):
                stuck.append(f"{service} has {seen.work} to deliver and moved nothing for {still:.0f} s")
        return Check("progress", not stuck, "; ".join(stuck))

    def __repr__(self) -> str:
        return f"<ProgressWatch of {len(self._services)} services>"
