"""One request between its last byte and its answer."""

from __future__ import annotations

from typing import Protocol

from bufferproxy.accept import answers
from bufferproxy.accept.admission import foreseen
from bufferproxy.accept.front import Front
from bufferproxy.accept.preferences import Mode
from bufferproxy.clock import Clock, Timer
from bufferproxy.errors import AppendRefused, AppendTooLarge, AppendUncertain, StorageFull, StorageLocked
from bufferproxy.http1.exchange import Exchange
from bufferproxy.http1.problems import Problem
from bufferproxy.ids import id_at, nonce_text
from bufferproxy.log.contract import Appended
from bufferproxy.observe.events import Accepted, Emit, Refused
from bufferproxy.records import Change, Position
from bufferproxy.results.watchers import Watchers
from bufferproxy.sizes import LEAST_HEADROOM

LOCKED = Problem(
    "log-unavailable", "It was not stored: another program has locked the log's file.", retry_after=1.0
)
"""Which program and which file, operators read in the log and in readiness."""


class Holder(Protocol):
    """Who accepts, as a pending request needs to know it (`handler.py`)."""

    clock: Clock
    emit: Emit
    watchers: Watchers
    held: set[Pending]
    refusing: Problem | None
    prefix: str


class Pending:
    """Waits for the log, as the callback of its append, and, when the caller is held, for the end.

    It watches for the end before the append is submitted: another process can have delivered the request, and
    the view can have read its end, before this one hears that it is stored.
    """

    __slots__ = (
        "_accepted_at",
        "_deadline",
        "_due_at",
        "_end",
        "_exchange",
        "_front",
        "_id",
        "_intake",
        "_mode",
        "_nonce",
        "_position",
        "_topic",
        "_watched",
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
        self._end: Change | None = None
        """Read before the log has told that the request is stored."""
        self._watched = b""
        """The nonce's text in the id, while its end is watched for."""
        if mode.hold > 0.0:
            self._watched = nonce_text(nonce)
            intake.watchers.watch(self._watched, self._changed)

    def stored(self, result: Appended) -> None:
        """The log has decided."""
        intake, front, exchange = self._intake, self._front, self._exchange
        if not isinstance(result, Position):
            front.backlog.taken_back(len(exchange.body))
            problem = _not_stored(result, len(exchange.body))
            intake.emit(Refused(front.name, problem.slug))
            self._let_go()
            exchange.refuse(problem)
            return
        front.backlog.stored(result)
        (_, number), offset = result
        self._id = id_at(front.number, self._topic, number, offset, front.results, self._nonce)
        intake.emit(Accepted(front.name, len(exchange.body), intake.clock.now() - exchange.received_at))
        if self._end is not None:
            self._answer(self._end)
        elif self._mode.hold > 0.0 and intake.refusing is None and not exchange.gone:
            self._hold()
        else:
            self.give_receipt()

    def _hold(self) -> None:
        intake = self._intake
        intake.held.add(self)
        self._front.held += 1
        self._exchange.on_hangup = self._let_go
        late = self._too_late if self._mode.strict else self.give_receipt
        self._deadline = intake.clock.call_later(self._mode.hold, late)

    def _changed(self, change: Change) -> None:
        """The view has read something of this id."""
        if not change.state.ended:
            return
        self._watched = b""  # nobody is told anything after the end
        if not self._id:
            self._end = change
            return
        self._let_go()
        self._answer(change)

    def _answer(self, change: Change) -> None:
        """What the service said, or why it said nothing."""
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
        if self._watched:
            self._intake.watchers.unwatch(self._watched, self._changed)
            self._watched = b""
        if self._deadline is None:
            return
        self._deadline.cancel()
        self._deadline = None
        self._exchange.on_hangup = None
        self._intake.held.discard(self)
        self._front.held -= 1


def no_room(why: str) -> Problem:
    detail = f"There is no room to store it: {why}." if why else "There is no room to store it."
    return Problem("storage-full", detail, retry_after=5.0)


def _not_stored(error: AppendRefused | AppendUncertain, size: int) -> Problem:
    """`size` of the body."""
    if isinstance(error, StorageFull):
        return no_room(str(error))
    if isinstance(error, StorageLocked):
        return LOCKED
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
