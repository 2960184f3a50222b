"""The hot path: head -> route and admission; whole request -> one append; durable -> 202, or held.

Nothing here awaits, locks or starts a task per request. What must wait, waits as a `Pending`: it is the
callback of the append, and of the view when the caller is held. What follows from a head alone is a `Demand`,
worked out once.
"""

from __future__ import annotations

from math import inf
from typing import Final, Protocol

from bufferproxy import envelope
from bufferproxy.accept.admission import admit, come_back, eta
from bufferproxy.accept.demand import NO_SERVICE, Demand
from bufferproxy.accept.front import Front
from bufferproxy.accept.pending import Pending, no_room
from bufferproxy.accept.preferences import Mode
from bufferproxy.accept.routing import Router
from bufferproxy.clock import Clock
from bufferproxy.http1.exchange import Exchange
from bufferproxy.http1.framing import Head
from bufferproxy.http1.problems import Problem
from bufferproxy.http1.trust import ONLY_LOOPBACK
from bufferproxy.log.contract import LogWriter
from bufferproxy.observe.events import Emit, Refused
from bufferproxy.results.watchers import Watchers

OWN: Final = object()
"""What there is to know of a head whose path is the proxy's own."""

OWN_BODY = 64 * 1024
"""Bytes of body that the proxy's own paths take."""


SMALL = 16 * 1024
"""Bytes of body that are read before it is asked whether there is room."""


class OwnPaths(Protocol):
    """Answers requests under the proxy's own prefix (`status.py`)."""

    def handle(self, exchange: Exchange) -> None: ...


class Intake:
    """Accepts requests for all services. One a process."""

    def __init__(
        self,
        router: Router[Front],
        writer: LogWriter,
        watchers: Watchers,
        via: bytes,
        clock: Clock,
        emit: Emit,
    ) -> None:
        self._router = router
        self.writer = writer
        self.watchers = watchers
        self._via = via
        self.clock = clock
        self.emit = emit
        self.prefix = "/_bufferproxy"
        """Paths under it are the proxy's own."""
        self.max_wait = 60.0
        self.proxies = ONLY_LOOPBACK
        """Whose X-Forwarded-* are believed."""
        self.own: OwnPaths | None = None
        self.held: set[Pending] = set()
        self.refusing: Problem | None = None
        """Set: nothing more is accepted, and this is why."""

    # --- called by the wire ---

    def begin(self, exchange: Exchange) -> int | Problem:
        """The head is here: find the service and refuse what can be refused now."""
        head = exchange.head
        facts = head.facts
        if facts is None:
            facts = head.facts = self._find_out(head)
        if not isinstance(facts, Demand):
            exchange.context = None
            return OWN_BODY if facts is OWN else self._refused(None, NO_SERVICE)
        problem = self.refusing or facts.at_head
        if problem is None and (head.length is None or head.length > SMALL):
            # Refused before it is sent here; a small one is as cheap to read first, and judged once.
            problem = admit(facts.front.terms.limits, facts.front.backlog, 0)
        if problem is not None:
            return self._refused(facts.front, problem)
        exchange.context = facts
        return facts.front.terms.body

    def handle(self, exchange: Exchange) -> None:
        """The whole request is here. Must not raise."""
        demand = exchange.context
        if demand is None:
            assert self.own is not None  # noqa: S101 - set by the wiring
            self.own.handle(exchange)
            return
        problem = self._accept(exchange, demand)
        if problem is not None:
            exchange.refuse(self._refused(demand.front, problem))

    # --- the path of a request ---

    def _find_out(self, head: Head) -> object:
        """A Demand, or OWN, or NO_SERVICE."""
        if head.target.startswith(self.prefix.encode() + b"/"):
            return OWN
        found = self._router.route(head.host, head.target)
        return NO_SERVICE if found is None else Demand(head, *found, self._via, self.max_wait, self.proxies)

    def _accept(self, exchange: Exchange, demand: Demand) -> Problem | None:
        front, mode, size = demand.front, demand.mode, len(exchange.body)
        terms, backlog = front.terms, front.backlog
        problem = demand.at_end or admit(terms.limits, backlog, size) or self.refusing
        now_ms, delay = 0, 0.0
        if problem is None and demand.delayed:
            now_ms = int(self.clock.wall() * 1000)
            problem, delay = demand.impossible(now_ms), demand.delay(now_ms)
        if problem is not None:
            return problem
        if mode.hold > 0.0:
            wait = max(eta(backlog), delay)
            if front.held >= terms.held or (wait > mode.hold and not demand.over_within_hold(now_ms)):
                if mode.strict:
                    return _too_long(wait)
                mode = demand.unheld
        if demand.delayed and self.writer.short:
            # The tiers take what is being settled too, and would take this.
            return no_room(self.writer.shortage)
        self._store(exchange, demand, mode)
        return None

    def _store(self, exchange: Exchange, demand: Demand, mode: Mode) -> None:
        front, client, body, clock = demand.front, exchange.client, exchange.body, self.clock
        size = len(body)
        accepted_at = int(clock.wall() * 1000)
        nonce = clock.nonce()
        key = demand.key_of(client) if demand.keyed_by_client else demand.key
        due_at, expires_at = demand.moments(accepted_at)
        topic, partition, hop_at = front.place(key, demand.priority, accepted_at, due_at, expires_at)
        entry = envelope.accepted(
            key=key,
            head=demand.forwarded(client, exchange.scheme, size),
            body=body,
            accepted_at=accepted_at,
            nonce=nonce,
            results=front.results,
            waiting=mode.hold > 0.0,
            idempotency_key=demand.idempotency_key,
            expires_at=expires_at,
            due_at=due_at,
            hop_at=hop_at,
            priority=demand.priority,
        )
        front.backlog.added(size)
        pending = Pending(self, exchange, front, mode, nonce, accepted_at, topic, due_at)
        self.writer.submit(partition, entry, pending.stored)

    def _refused(self, front: Front | None, problem: Problem) -> Problem:
        self.emit(Refused(None if front is None else front.name, problem.slug))
        return problem

    def release_all(self) -> None:
        """Give every caller that is held its 202: the process stops."""
        for pending in tuple(self.held):
            pending.give_receipt()

    def __repr__(self) -> str:
        return f"<Intake held={len(self.held)} refusing={self.refusing}>"


def _too_long(wait: float) -> Problem:
    known = f"It would wait {wait:.0f} s before it is sent."
    detail = "The service is paused, and nobody knows until when." if wait == inf else known
    return Problem("wait-too-long", detail, retry_after=come_back(wait))
