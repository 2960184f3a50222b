"""How a service with a small connection pool breaks. Pure: the process around it brings time and sockets.

The model, a common web service in front of a database:

- A request needs one of `connections` for as long as its work takes: `work` seconds, give or take `spread`.
  Below the capacity, connections / work, it answers everybody in about that time.
- Who finds no connection waits, first come first served. Those who wait are not free: they hold memory,
  locks and a thread to switch to, so that with `crowd` waiting all work takes twice as long. That is why
  throughput falls, instead of staying flat, when more comes than fits.
- It does not notice that a caller gave up. Such work is done all the same, for nobody. That is why it can be
  fully busy and serve no one.
- At most `backlog` wait; whoever comes then gets a 503 at once.
- When that has been so for `endures` seconds, its health check fails and it is restarted: everything it had
  is lost, connections are reset for `restart` seconds, and for `cold` seconds after that, with empty caches,
  all work takes twice as long.

It has no memory of the kind that would let it know how it is being called: it is the same for whoever comes.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple


class Fragility(NamedTuple):
    """Times in seconds, the rest in requests. `spread` is a share of `work`."""

    connections: int = 10
    work: float = 0.1
    spread: float = 0.2
    crowd: int = 100
    backlog: int = 150
    endures: float = 2.0
    restart: float = 1.5
    cold: float = 1.0

    @property
    def capacity(self) -> float:
        """Requests per second, when nobody waits."""
        return self.connections / self.work


class Working(NamedTuple):
    """The request has a connection and is done `seconds` from now."""

    request: int
    seconds: float


class Waiting(NamedTuple):
    """It will be returned by `finish` when its turn has come."""


class Full(NamedTuple):
    """503."""


class Down(NamedTuple):
    """There is no process: the connection is reset."""


class Crashed(NamedTuple):
    """This one was too many. What was being worked on and what waited is lost, this one too: reset them."""

    lost: tuple[int, ...]


Reception = Working | Waiting | Full | Down | Crashed


class Fragile:
    """`now` is monotonic seconds, `random` uniform in [0, 1); a request is a number that the caller chose."""

    def __init__(self, fragility: Fragility) -> None:
        self._is = fragility
        self._working: set[int] = set()
        self._waiting: deque[int] = deque()
        self._full_since = math.inf
        self._up_at = -math.inf

    def arrive(self, request: int, now: float, random: float) -> Reception:
        if self.down(now):
            return Down()
        if len(self._working) < self._is.connections:
            return self._begin(request, now, random)
        if len(self._waiting) < self._is.backlog:
            self._waiting.append(request)
            return Waiting()
        self._full_since = min(self._full_since, now)
        if now - self._full_since < self._is.endures:
            return Full()
        return self._crash(request, now)

    def finish(self, request: int, now: float, random: float) -> Working | None:
        """`request` gives its connection back. Returns the one that has it now, if anybody waited."""
        self._working.remove(request)
        if not self._waiting:
            return None
        upcoming = self._waiting.popleft()
        # Overload is over when half of the places are free: one that opens for a moment is no relief.
        if len(self._waiting) < self._is.backlog / 2:
            self._full_since = math.inf
        return self._begin(upcoming, now, random)

    def down(self, now: float) -> bool:
        return now < self._up_at

    @property
    def working(self) -> int:
        return len(self._working)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def _begin(self, request: int, now: float, random: float) -> Working:
        self._working.add(request)
        crowding = 1 + len(self._waiting) / self._is.crowd
        cold = 2 if now < self._up_at + self._is.cold else 1
        uneven = 1 + self._is.spread * (2 * random - 1)
        return Working(request, self._is.work * crowding * cold * uneven)

    def _crash(self, request: int, now: float) -> Crashed:
        lost = (*self._working, *self._waiting, request)
        self._working.clear()
        self._waiting.clear()
        self._full_since = math.inf
        self._up_at = now + self._is.restart
        return Crashed(lost)

    def __repr__(self) -> str:
        return f"<Fragile working={len(self._working)} waiting={len(self._waiting)}>"
