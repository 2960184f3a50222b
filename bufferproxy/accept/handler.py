"""The hot path: head -> route and admission; whole request -> one append; durable -> 202, or held.

Nothing here awaits, locks or starts a task per request. What must wait, waits as a `Pending`: it is the
callback of the append, and of the view when the caller is held.
"""

from __future__ import annotations

from math import inf
from typing import Protocol

from bufferproxy import envelope
from bufferproxy.accept import answers
from bufferproxy.accept.admission import admit, eta
from bufferproxy.accept.front import Front, header, ordering_key
from bufferproxy.accept.preferences import REFUSED, Mode, mode_of, preference
from bufferproxy.accept.routing import Router
from bufferproxy.clock import Clock, Timer
from bufferproxy.errors import AppendRefused, AppendUncertain, StorageFull
from bufferproxy.http1.exchange import Exchange
from bufferproxy.http1.forwarding import end_to_end, loops
from bufferproxy.http1.problems import Problem
from bufferproxy.log.contract import Appended, LogWriter
from bufferproxy.observe.events import Accepted, Emit, Refused
from bufferproxy.records import Change, Position
from bufferproxy.results.watchers import Watchers

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
        self._prefix = "/_bufferproxy"
        self._own_prefix = b"/_bufferproxy/"
        self.max_wait = 60.0
        self.own: OwnPaths | None = None
        self.held: set[Pending] = set()
        self.refusing: Problem | None = None
        """Set: nothing more is accepted, and this is why."""

    @property
    def prefix(self) -> str:
        """Paths under it are the proxy's own."""
        return self._prefix

    @prefix.setter
    def prefix(self, prefix: str) -> None:
        self._prefix = prefix
        self._own_prefix = prefix.encode() + b"/"

    # --- called by the wire ---

    def begin(self, exchange: Exchange) -> int | Problem:
        """The head is here: find the service and refuse what can be refused now."""
        target = exchange.target
        if target.startswith(self._own_prefix):
            exchange.context = None
            return OWN_BODY
        found = self._router.route(exchange.host, target)
        if found is None:
            return self._refused(None, Problem("no-service", "No service matches this host and path."))
        front, target = found
        if self.refusing is not None:
            return self._refused(front, self.refusing)
        if loops(exchange.headers, self._via):
            return self._refused(
                front, Problem("loop-detected", "This request has come through this proxy before.")
            )
        if exchange.length is None or exchange.length > SMALL:
            # Refused before it is sent here; a small one is as cheap to read first, and judged once.
            problem = admit(front.terms.limits, front.backlog.reading(), 0)
            if problem is not None:
                return self._refused(front, problem)
        exchange.context = found
        return front.terms.body

    def handle(self, exchange: Exchange) -> None:
        """The whole request is here. Must not raise."""
        found = exchange.context
        if found is None:
            assert self.own is not None  # noqa: S101 - set by the wiring
            self.own.handle(exchange)
            return
        front, target = found
        problem = self._accept(exchange, front, target)
        if problem is not None:
            exchange.refuse(self._refused(front, problem))

    # --- the path of a request ---

    def _accept(self, exchange: Exchange, front: Front, target: bytes) -> Problem | None:
        asked = preference(exchange.headers)
        if isinstance(asked, Problem):
            return asked
        terms, body = front.terms, exchange.body
        mode = mode_of(exchange.method, asked, reply=terms.reply, safe=terms.safe, longest=self.max_wait)
        if mode is REFUSED:
            return _safe_methods_refused(exchange.method)
        reading = front.backlog.reading()
        problem = admit(terms.limits, reading, len(body)) or self.refusing
        if problem is not None:
            return problem
        wait = eta(reading)
        hold = mode.hold > 0.0 and wait <= mode.hold and front.held < terms.held
        if mode.strict and not hold:
            return Problem(
                "wait-too-long", f"It would wait {wait:.0f} s before it is sent.", retry_after=max(1.0, wait)
            )
        if mode.hold > 0.0 and not hold:
            mode = mode._replace(hold=0.0)
        self._store(exchange, front, target, mode)
        return None

    def _store(self, exchange: Exchange, front: Front, target: bytes, mode: Mode) -> None:
        headers, body = exchange.headers, exchange.body
        clock, terms = self.clock, front.terms
        key = None if terms.order == "none" else ordering_key(terms.key, target, headers, exchange.client)
        head = end_to_end(
            exchange.method,
            target,
            headers,
            body_length=len(body),
            client=exchange.client,
            scheme=exchange.scheme,
            via=self._via,
            version=exchange.version,
        )
        accepted_at = int(clock.wall() * 1000)
        # A strict caller is gone when its time is over, so what is not sent by then need not be sent.
        lives = min(terms.expire, mode.hold) if mode.strict else terms.expire
        nonce = clock.nonce()
        entry = envelope.accepted(
            key=key,
            head=head,
            body=body,
            accepted_at=accepted_at,
            nonce=nonce,
            results=front.results,
            waiting=mode.hold > 0.0,
            idempotency_key=header(headers, b"idempotency-key"),
            expires_at=accepted_at + int(lives * 1000),
        )
        front.backlog.added(len(body))
        pending = Pending(self, exchange, front, mode, nonce, accepted_at)
        self.writer.submit(front.partition(key), entry, pending.stored)

    def _refused(self, front: Front | None, problem: Problem) -> Problem:
        self.emit(Refused(None if front is None else front.name, problem.slug))
        return problem

    def release_all(self) -> None:
        """Give every caller that is held its 202: the process stops."""
        for pending in tuple(self.held):
            pending.give_receipt()

    def __repr__(self) -> str:
        return f"<Intake held={len(self.held)} refusing={self.refusing}>"


class Pending:
    """One request between its last byte and its answer."""

    __slots__ = (
        "_accepted_at",
        "_deadline",
        "_exchange",
        "_front",
        "_id",
        "_intake",
        "_mode",
        "_nonce",
        "_position",
    )

    def __init__(
        self, intake: Intake, exchange: Exchange, front: Front, mode: Mode, nonce: bytes, accepted_at: int
    ) -> None:
        self._intake = intake
        self._exchange = exchange
        self._front = front
        self._mode = mode
        self._nonce = nonce
        self._accepted_at = accepted_at
        self._position = front.backlog.requests
        self._id = ""
        self._deadline: Timer | None = None

    def stored(self, result: Appended) -> None:
        """The log has decided."""
        intake, front, exchange = self._intake, self._front, self._exchange
        if not isinstance(result, Position):
            front.backlog.taken_back(len(exchange.body))
            problem = _not_stored(result)
            intake.emit(Refused(front.name, problem.slug))
            exchange.refuse(problem)
            return
        front.backlog.stored(result)
        (_, number), offset = result
        self._id = envelope.id_of(
            envelope.Identity(front.number, envelope.REQUESTS, number, offset, front.results, self._nonce)
        )
        intake.emit(Accepted(front.name, len(exchange.body), intake.clock.now() - exchange.received_at))
        if self._mode.hold > 0.0 and intake.refusing is None:
            self._hold()
        else:
            self.give_receipt()

    def _hold(self) -> None:
        intake = self._intake
        intake.held.add(self)
        self._front.held += 1
        intake.watchers.watch(self._id, self._changed)
        self._exchange.on_hangup = self._let_go
        late = self._too_late if self._mode.strict else self.give_receipt
        self._deadline = intake.clock.call_later(self._mode.hold, late)

    def _changed(self, change: Change) -> None:
        """The view has read something of this id."""
        if not change.state.ended:
            return
        self._let_go()
        if change.reply_head is None:
            self._exchange.refuse(answers.without_answer(change))
            return
        head = change.reply_head + b"Bufferproxy-Id: " + self._id.encode() + b"\r\n"
        if self._mode.applied is not None:
            head += b"Preference-Applied: " + self._mode.applied + b"\r\n"
        self._exchange.reply_raw(head, change.reply_body)

    def give_receipt(self) -> None:
        """The 202."""
        self._let_go()
        front = self._front
        rate, position = front.backlog.pace, self._position
        wait = (position - 1) / rate if 0.0 < rate < inf else 0.0
        receipt = answers.Receipt(self._id, front.name, position, wait, self._accepted_at, self._mode.applied)
        head, body = answers.accepted(receipt, self._intake.prefix)
        self._exchange.reply(202, head, body)

    def _too_late(self) -> None:
        self._let_go()
        problem = Problem(
            "not-in-time",
            f"The service did not answer within {self._mode.hold:g} s.",
            headers=(("Bufferproxy-Id", self._id),),
        )
        self._exchange.refuse(problem)

    def _let_go(self) -> None:
        """Answered, or hung up: nobody waits any more. Harmless twice, and when never held."""
        if self._deadline is None:
            return
        self._deadline.cancel()
        self._deadline = None
        self._exchange.on_hangup = None
        self._intake.held.discard(self)
        self._front.held -= 1
        self._intake.watchers.unwatch(self._id, self._changed)


def _not_stored(error: AppendRefused | AppendUncertain) -> Problem:
    if isinstance(error, StorageFull):
        return Problem("storage-full", "There is no room to store it.", retry_after=5.0)
    if isinstance(error, AppendRefused):
        return Problem("log-unavailable", f"It could not be stored: {error}", retry_after=1.0)
    return Problem(
        "outcome-unknown",
        "It may have been stored. Send it again with the same Idempotency-Key.",
        retry_after=1.0,
    )


def _safe_methods_refused(method: bytes) -> Problem:
    return Problem(
        "method-not-allowed",
        f"{method.decode()} is refused by this service's safe_methods setting.",
        headers=(("Allow", "POST, PUT, PATCH, DELETE"),),
    )
