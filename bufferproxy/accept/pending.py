"""One request between its last byte and its answer."""

from __future__ import annotations

from typing import Protocol

from bufferproxy.accept import answers
from bufferproxy.accept.admission import foreseen
from bufferproxy.accept.front import Front
from bufferproxy.accept.preferences import Mode
from bufferproxy.clock import Clock, Timer
from bufferproxy.errors import AppendRefused, AppendTooLarge, AppendUncertain, StorageFull
from bufferproxy.http1.exchange import Exchange
from bufferproxy.http1.problems import Problem
from bufferproxy.ids import id_at
from bufferproxy.log.contract import Appended
from bufferproxy.observe.events import Accepted, Emit, Refused
from bufferproxy.records import Change, Position
from bufferproxy.results.watchers import Watchers
from bufferproxy.sizes import LEAST_HEADROOM

NO_ROOM = Problem("storage-full", "There is no room to store it.", retry_after=5.0)


class Holder(Protocol):
    """Who accepts, as a pending request needs to know it (`handler.py`)."""

    clock: Clock
    emit: Emit
    watchers: Watchers
    held: set[Pending]
    refusing: Problem | None
    prefix: str


class Pending:
    """Waits for the log, as the callback of its append; then, when the caller is held, for the end."""

    __slots__ = (
        "_accepted_at",
        "_deadline",
        "_due_at",
        "_exchange",
        "_front",
        "_id",
        "_intake",
        "_mode",
        "_nonce",
        "_position",
        "_topic",
    )

    def __init__(
        self,
        intake: Holder,
        exchange: Exchange,
        front: Front,
        mode: Mode,
        nonce: bytes,
        accepted_at: int,
        topic: int,
        due_at: int | None,
    ) -> None:
        """`topic`: where it is accepted, as its id says it. `due_at`: before then it is not sent."""
        self._intake = intake
        self._exchange = exchange
        self._front = front
        self._mode = mode
        self._nonce = nonce
        self._accepted_at = accepted_at
        self._topic = topic
        self._due_at = due_at
        self._position = front.backlog.ready
        self._id = ""
        self._deadline: Timer | None = None

    def stored(self, result: Appended) -> None:
        """The log has decided."""
        intake, front, exchange = self._intake, self._front, self._exchange
        if not isinstance(result, Position):
            front.backlog.taken_back(len(exchange.body))
            problem = _not_stored(result, len(exchange.body))
            intake.emit(Refused(front.name, problem.slug))
            exchange.refuse(problem)
            return
        front.backlog.stored(result)
        (_, number), offset = result
        self._id = id_at(front.number, self._topic, number, offset, front.results, self._nonce)
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
        if self._deadline is not None:
            self._let_go()
        front, position = self._front, self._position
        wait = foreseen(front.backlog, position - 1)
        if self._due_at is not None:
            wait = max(wait, self._due_at / 1000 - self._intake.clock.wall())
        applied, prefix = self._mode.applied, self._intake.prefix
        head, body = answers.accepted(
            self._id, front.name, position, wait, self._accepted_at, applied, prefix, self._due_at
        )
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


def _not_stored(error: AppendRefused | AppendUncertain, size: int) -> Problem:
    """`size` of the body."""
    if isinstance(error, StorageFull):
        return NO_ROOM
    if isinstance(error, AppendTooLarge):
        # Topics are made for what may be accepted, so somebody has made one smaller since the start.
        slug = "body-too-large" if size > LEAST_HEADROOM else "headers-too-large"
        return Problem(slug, f"The log does not take a request as large as this: {error}")
    if isinstance(error, AppendRefused):
        return Problem("log-unavailable", f"It could not be stored: {error}", retry_after=1.0)
    return Problem(
        "outcome-unknown",
        "It may have been stored. Send it again with the same Idempotency-Key.",
        retry_after=1.0,
    )
