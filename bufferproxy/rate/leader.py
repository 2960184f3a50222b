"""The leader: what to grant, from what the log says. Every replica feeds one, whether it leads or not.

Each service has a leader of its own, one that knows it. A replica leads those that it claimed, and says all
it has to say of them in one grant.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from bufferproxy.rate.fence import Fence
from bufferproxy.rate.ledger import ECHO, Ledger, Standing
from bufferproxy.rate.records import Claim, Grant, Read, Report, Share, Terms, pieces
from bufferproxy.rate.shares import Ceiling, Part, within
from bufferproxy.rate.turns import Place, Turns

TICK = 0.25
"""Seconds between grants that nothing but time asks for, while somebody has a share or wants one."""

REST = 1.0
"""The same while nobody does: often enough that nobody else claims (`fence.SILENCE`)."""

DEAF = 1.4
"""Seconds without reading even its own grants after which a leader falls silent: another one will claim."""


class Leader:
    def __init__(self, worker: str, now: float) -> None:
        self.worker = worker
        self.fence = Fence(now)
        self.ledger = Ledger(now)
        self.tick_at = now
        self.led: frozenset[str] = frozenset()
        """Services that this replica leads now."""
        self._services: dict[str, _Service] = {}
        self._number = 0
        self._stirred: set[str] = set()

    def govern(self, service: str, ceiling: Ceiling, regime: Mapping[str, Any], now: float) -> None:
        """What all replicas together may do from now on, and the verdict that goes with it. A rate of 0:
        nothing. Every replica is told, leading or not; its reports' outcomes are what it is judged by."""
        found = self._services.get(service)
        if found is None:
            found = self._services[service] = _Service(service, self.ledger, now)
        if (ceiling, regime) != (found.ceiling, found.regime):
            found.ceiling, found.regime = ceiling, regime
            if service in self.led:
                self.tick_at = now

    @property
    def services(self) -> Collection[str]:
        """Those that this replica knows, and can lead."""
        return self._services.keys()

    def read(self, offset: int, record: Read, now: float) -> Read | None:
        """Returns what of it counts."""
        counting = self.fence.counting(offset, record, now)
        if counting is None:
            return None
        if isinstance(counting, Report):
            self._stirred |= self.ledger.concerned(counting) & self.led
        self.ledger.read(offset, counting, now)
        if not isinstance(counting, Report):
            self._follow(counting, now)
        return counting

    def _follow(self, record: Read, now: float) -> None:
        """Somebody leads, or leads no more."""
        self.led = frozenset(name for name in self._services if self.fence.of(name).leader == self.worker)
        self._stirred &= self.led
        if isinstance(record, Claim) and record.worker == self.worker:
            self._begin(self.led.intersection(record.services), now)

    def grants(self, now: float) -> list[Grant]:
        """What to append now: at every tick, and when a report lets somebody begin."""
        tick, stirred = now >= self.tick_at, self._stirred
        if not self.led or not (tick or stirred):
            return []
        heard = [n for n in (self.led if tick else stirred) if now <= self.fence.of(n).heard_at + DEAF]
        self._stirred = set() if heard else stirred
        terms = self._terms([n for n in heard if now >= self._services[n].first_at], now, at_tick=tick)
        if tick:
            busy = any(self._services[name].busy for name in self.led)
            self.tick_at = min(now + (TICK if busy else REST), self._next_beginning(now))
        named = heard if tick else terms.keys()
        if not named:
            return []
        self._number += 1
        grant = Grant(self._number, {name: self.fence.of(name).epoch for name in named}, terms)
        self.ledger.promise(grant, now)
        for name in terms:
            self._services[name].note(now)
        return pieces(grant)

    def _next_beginning(self, now: float) -> float:
        ahead = (self._services[name].first_at for name in self.led)
        return min((at for at in ahead if at > now), default=math.inf)

    def _terms(self, names: Iterable[str], now: float, *, at_tick: bool) -> dict[str, Terms]:
        workers = self.ledger.workers(now)
        said = {}
        for name in names:
            service = self._services[name]
            terms = service.terms(workers, now)
            if service.wants_saying(terms, now, at_tick=at_tick):
                said[name] = service.said = terms
                service.said_at = now
        return said

    @property
    def wake_at(self) -> float:
        """When `grants` has something to say though nothing is read (inf: never)."""
        return self.tick_at if self.led else math.inf

    def _begin(self, services: Iterable[str], now: float) -> None:
        """All grants of leaders before are in the ledger, for they lie before our claim. Which tokens were
        given up a moment ago is not, nor what was granted before we began to read: both pass."""
        self.tick_at = now
        for name in services:
            self._services[name].begin(now, max(now + ECHO, self.ledger.whole_at))


class _Service:
    """What the leader keeps of one service while it leads."""

    def __init__(self, name: str, ledger: Ledger, now: float) -> None:
        self.name = name
        self.ceiling = Ceiling(0.0, 1, 1)
        self.regime: Mapping[str, Any] = {}
        self._ledger = ledger
        self.begin(now, now)

    def begin(self, now: float, first_at: float) -> None:
        self.first_at = first_at
        """Until then its leader only says that it lives."""
        self.said, self.said_at = Terms(0.0, {}), -math.inf
        self.held: Mapping[str, Part] = {}
        self.cramped = False
        """Somebody shall hold a share, and there is no room for it yet."""
        self._turns = Turns()
        self._tokens = 0
        self._echo = 0
        self._echo_until = now
        self.note(now)

    def note(self, now: float) -> dict[str, Part]:
        """Who may hold what; and remember for a moment what is not held any more."""
        held = self._ledger.held(self.name, now)
        tokens = sum(part.tokens for part in held.values())
        if tokens < self._tokens:
            self._echo = max(self._echo, self._tokens) if now < self._echo_until else self._tokens
            self._echo_until = now + ECHO
        self._tokens = tokens
        return held

    def terms(self, workers: Mapping[str, Standing], now: float) -> Terms:
        held = self.held = self.note(now)
        plan = self._turns.plan(self.name, self.ceiling, workers, held, now)
        recent = self._echo if now < self._echo_until else 0
        granted = within(self.ceiling, {name: place.part for name, place in plan.items()}, held, recent)
        self.cramped = granted.keys() != plan.keys()
        shares = {name: _share(part, plan[name], workers[name]) for name, part in granted.items()}
        return Terms(self.ceiling.rate, shares, self.regime)

    @property
    def busy(self) -> bool:
        """Somebody has a share, or waits for room for one."""
        return bool(self.said.shares or self.held or self.cramped)

    def wants_saying(self, terms: Terms, now: float, *, at_tick: bool) -> bool:
        """At a tick whatever lasts or ends, and again what rests; in between only who begins, ends, or shall
        take turns now, and what is taken away for who cannot begin before."""
        if at_tick:
            changed = terms != self.said
            again = bool(terms.regime) and now >= self.said_at + REST
            return bool(terms.shares or self.held) or changed or again
        if self.cramped:
            return _parts(terms) != _parts(self.said)
        before = {name: bool(share.turn) for name, share in self.said.shares.items()}
        return before != {name: bool(share.turn) for name, share in terms.shares.items()}


def _share(part: Part, place: Place, standing: Standing) -> Share:
    return Share(part.rate, part.tokens, part.concurrency, standing.number, place.turn)


def _parts(terms: Terms) -> dict[str, tuple[float, int, int]]:
    return {name: share[:3] for name, share in terms.shares.items()}
