"""Carries a disposition out: what must be durable first, then the record is settled.

Never the other way round: between the two a crash repeats an attempt, and loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import assert_never

from bufferproxy.clock import Clock
from bufferproxy.envelope import accepted_at_position, copy_of, entry_of, letter_key, mark_entry
from bufferproxy.errors import AppendTooLarge
from bufferproxy.ids import DELAYED
from bufferproxy.log.contract import Appended, LogWriter
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.observe.events import DeadLettered, Emit, Finished, Quarantined, RetryScheduled, Unsettled
from bufferproxy.records import Change, Entry, Mark, Partition, Position, Record, Request, State
from bufferproxy.settle.disposition import Ack, Answer, DeadLetter, Expire, Retry
from bufferproxy.settle.lines import Copy, Lines
from bufferproxy.settle.tiers import delayed
from bufferproxy.sizes import ERROR_BYTES, kept_of

Fate = Ack | Retry | DeadLetter | Expire
"""The dispositions that settle a record. A Release settles nothing."""

AGAIN = 0.5
"""Seconds until an append that the log could not take is tried again."""

KEPT_REPLY = 64 * 1024
"""Bytes of the last answer's body that are kept with a dead letter, at most (`sizes.kept_of`)."""

Write = tuple[Partition, Entry]


class Settler:
    """One a service."""

    def __init__(
        self, service: str, topics: ServiceTopics, writer: LogWriter, clock: Clock, emit: Emit
    ) -> None:
        self._service = service
        self._topics = topics
        self._writer = writer
        self._clock = clock
        self._emit = emit
        self._unsettled = 0
        self._parking = Lines()

    def settle(self, request: Request, fate: Fate, settled: Callable[[], None]) -> None:
        """Append what `fate` asks for; `settled` is called on the loop when all of it is durable. An append
        that fails is tried until it works: the record stays open, and with it the window."""
        now_ms = int(self._clock.wall() * 1000)
        writes = writes_of(request, fate, now_ms, self._topics)
        self._unsettled += 1

        def all_done() -> None:
            self._unsettled -= 1
            self._tell(request, fate)
            settled()

        if request.generation:
            # It says that the rest is done: what comes after it may drop the request unsent.
            proof = proof_of(request, fate, now_ms, self._topics)
            writes = [write for write in writes if write[0].topic != self._topics.dead]
            done: Callable[[], None] = partial(self._append, proof, all_done)
        else:
            done = all_done
        if isinstance(fate, Retry):
            self._append_in_turn(writes, done)
        else:
            self._append_all(writes, done)

    def quarantine(self, record: Record, detail: str, settled: Callable[[], None]) -> None:
        """A record that cannot be understood is kept as it is, with a reason, and never skipped."""
        died_at = b"%d" % int(self._clock.wall() * 1000)
        headers = (
            *record.headers,
            ("bufferproxy-reason", b"undecodable"),
            ("bufferproxy-died-at", died_at),
            ("bufferproxy-error", detail[: ERROR_BYTES // 4].encode()),
        )
        place = f"{record.partition.topic}/{record.partition.number}/{record.offset}"
        self._emit(Quarantined(self._service, detail))

        def kept() -> None:
            self._emit(Finished(self._service, State.DEAD))
            settled()

        self._append((self._topics.dead_place, Entry(place.encode(), record.value, headers)), kept)

    def move(self, request: Request, settled: Callable[[], None]) -> None:
        """A delayed request whose tier is over and whose time has not come goes on to its next tier. Below
        the commit nothing can be found of where it was accepted, so the first time it is told before."""
        now_ms = int(self._clock.wall() * 1000)
        copy = delayed(request, now_ms, self._topics.delayed)
        if not accepted_at_position(request, DELAYED):
            self._append(copy, settled)
            return
        self._append_in_turn([queued(request, now_ms, self._topics), copy], settled)

    def park(self, request: Request, settled: Callable[[], None], wanted: Callable[[], bool]) -> None:
        """A request of a blocked key moves behind the others of its key that are parked already; not at all
        if it is not `wanted` any more when its turn has come."""
        word, (place, entry) = parked(request, int(self._clock.wall() * 1000), self._topics)
        key, copy = request.key or b"", Copy(entry, settled, wanted)
        self._parking.join(key, copy, partial(self._append_copy, place))
        self._append(word, lambda: self._parking.ready(key, copy))

    def postpone(self, request: Request, settled: Callable[[], None]) -> None:
        """What has to wait until its `due_at`, through no fault of its own, waits in the tiers."""
        now_ms = int(self._clock.wall() * 1000)
        copy = delayed(request, now_ms, self._topics.delayed)
        self._append_in_turn([queued(request, now_ms, self._topics), copy], settled)

    def drop(self, settled: Callable[[], None]) -> None:
        """A repeat: its end was told, or will be, by the other copy. It was counted as accepted like any
        other record, so it has to be counted as ended."""
        self._emit(Finished(self._service, State.CANCELLED))
        settled()

    def note_retry(self, request: Request, retry: Retry) -> None:
        """A request that keeps its place (its key's order) is tried again: show it, settle nothing. Appended
        once only: tried until it works it could come after the request's end, and stand above it."""
        now_ms = int(self._clock.wall() * 1000)
        change = _change(request, State.RETRYING, now_ms, error=retry.reason, due_at=request.due_at)
        self._writer.submit(self._topics.states_place, entry_of(change), _nothing)
        self._tell(request, retry)

    def _append_all(self, writes: list[Write], done: Callable[[], None]) -> None:
        done = done if len(writes) == 1 else _last_of(len(writes), done)
        for write in writes:
            self._append(write, done)

    def _append_in_turn(self, writes: list[Write], done: Callable[[], None]) -> None:
        """What is told of a request that stays open, and then its copy: a word that is late could come after
        the end of the copy, and stand above it."""
        first, second = writes
        self._append(first, lambda: self._append(second, done))

    def _append_copy(self, partition: Partition, entry: Entry, done: Callable[[bool], None]) -> None:
        def decided(result: Appended) -> None:
            if isinstance(result, Position):
                done(True)  # noqa: FBT003
                return
            if isinstance(result, AppendTooLarge):
                self._emit(Unsettled(self._service, str(result)))
            self._clock.call_later(AGAIN, lambda: done(False))  # noqa: FBT003

        self._writer.submit(partition, entry, decided)

    def _append(self, write: Write, done: Callable[[], None]) -> None:
        def decided(result: Appended) -> None:
            if isinstance(result, Position):
                done()
            else:
                if isinstance(result, AppendTooLarge):  # waits for an operator, so one has to hear of it
                    self._emit(Unsettled(self._service, str(result)))
                self._clock.call_later(AGAIN, lambda: self._append(write, done))

        partition, entry = write
        self._writer.submit(partition, entry, decided)

    def _tell(self, request: Request, fate: Fate) -> None:
        if isinstance(fate, Ack):  # nearly always
            if fate.state is State.REJECTED and not request.waiting:
                self._emit(DeadLettered(self._service, "rejected"))
            self._emit(Finished(self._service, fate.state))
            return
        match fate:
            case Retry(delay=delay, reason=reason):
                self._emit(RetryScheduled(self._service, reason, delay))
            case DeadLetter(reason=reason):
                self._emit(DeadLettered(self._service, reason))
                self._emit(Finished(self._service, State.DEAD))
            case Expire():
                self._emit(Finished(self._service, State.EXPIRED))
            case _:
                assert_never(fate)

    def __repr__(self) -> str:
        return f"<Settler {self._service} unsettled={self._unsettled}>"


def _last_of(count: int, done: Callable[[], None]) -> Callable[[], None]:
    """Calls `done` when it has been called `count` times."""
    left = count

    def one_done() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done()

    return one_done


def writes_of(request: Request, fate: Fate, now_ms: int, topics: ServiceTopics) -> list[Write]:
    """What must be durable before `request` is settled. Pure."""
    if isinstance(fate, Ack):  # nearly always, and then nearly always one append
        return _ends(request, fate, now_ms, topics)
    states = topics.states_place
    match fate:
        case Retry(reason=reason):
            step = _change(request, State.RETRYING, now_ms, error=reason, due_at=request.due_at)
            return [(states, entry_of(step)), delayed(request, now_ms, topics.delayed)]
        case DeadLetter(answer=answer, error=error, reason=reason):
            end = _change(request, State.DEAD, now_ms, answer, error=f"{reason}: {error}")
            letter = _dead(request, fate, now_ms, topics)
            if end.reply_head is None:
                return [letter, (states, entry_of(end))]
            results = Partition(topics.results, request.results)
            return [letter, (states, _pointer(end)), (results, entry_of(end))]
        case Expire():
            return [(states, entry_of(_change(request, State.EXPIRED, now_ms, error="not sent in time")))]
        case _:
            assert_never(fate)


def _ends(request: Request, ack: Ack, now_ms: int, topics: ServiceTopics) -> list[Write]:
    end = _change(request, ack.state, now_ms, ack.answer)
    writes = [(Partition(topics.results, request.results), entry_of(end))]
    if seen_before(request, topics):
        writes.append((topics.states_place, _pointer(end)))
    if ack.state is State.REJECTED and not request.waiting:
        writes.append(_dead(request, DeadLetter("rejected", ack.answer, ""), now_ms, topics))
    return writes


def seen_before(request: Request, topics: ServiceTopics) -> bool:
    """True when `.states` has told of this request, so that its end must be told there too. (Of a redriven
    one it may have told the end before.)"""
    return (
        request.due_at is not None
        or request.position.partition.topic == topics.parked
        or request.generation > 0
    )


def queued(request: Request, now_ms: int, topics: ServiceTopics) -> Write:
    """That it waits. Pure."""
    change = _change(request, State.QUEUED, now_ms, due_at=request.due_at)
    return topics.states_place, entry_of(change)


def parked(request: Request, now_ms: int, topics: ServiceTopics) -> tuple[Write, Write]:
    """A word of where it stands, and the copy, in the partition of the same number: it will lie below the
    commit of where it was accepted, where an id that nobody has told of counts as gone. Pure."""
    (topic, number), offset = request.position
    state = State.RETRYING if request.attempts else State.QUEUED
    change = _change(request, state, now_ms, due_at=request.due_at)
    copy = copy_of(request, **{"from": f"{topic}/{number}/{offset}".encode()})
    word = (topics.states_place, entry_of(change))
    return word, (Partition(topics.parked, number), copy)


def proof_of(request: Request, fate: Fate, now_ms: int, topics: ServiceTopics) -> Write:
    """For `.dead`, once all else is durable: redrive `request.generation` is settled. Whoever meets another
    copy of it drops it. Of one that died again the letter says so, else a marker. Pure."""
    match fate:
        case DeadLetter():
            return _dead(request, fate, now_ms, topics)
        case Ack(state=State.REJECTED, answer=answer) if not request.waiting:
            return _dead(request, DeadLetter("rejected", answer, ""), now_ms, topics)
        case Ack(state=state):
            pass
        case Retry():
            state = State.RETRYING
        case Expire():
            state = State.EXPIRED
        case _:
            assert_never(fate)
    mark = Mark(
        request.id,
        request.generation,
        purged=False,
        at=now_ms,
        results=request.results,
        accepted_at=request.accepted_at,
        state=state,
        attempts=request.attempts,
        due_at=request.due_at if state is State.RETRYING else None,
        expires_at=request.expires_at,
    )
    return topics.dead_place, mark_entry(mark)


def _pointer(end: Change) -> Entry:
    """An end for `.states` that says: the answer is in `.results`. It has neither an answer nor an error."""
    return entry_of(end._replace(reply_head=None, reply_body=b"", error=None))


def _change(
    request: Request,
    state: State,
    now_ms: int,
    answer: Answer | None = None,
    *,
    error: str | None = None,
    due_at: int | None = None,
) -> Change:
    head, body = None, b""
    if answer is not None:
        if answer.too_large:
            error = error or "reply-too-large"
        else:
            head, body = answer.head, answer.body
    return Change(
        request.id,
        state,
        now_ms,
        request.accepted_at,
        request.attempts,
        request.results,
        head,
        body,
        None if error is None else error[: ERROR_BYTES // 4],  # a character is at most four bytes
        due_at,
        request.expires_at,
    )


def _dead(request: Request, letter: DeadLetter, now_ms: int, topics: ServiceTopics) -> Write:
    extra = {"reason": letter.reason.encode(), "died_at": b"%d" % now_ms}
    if letter.answer is not None:
        extra["status"] = b"%d" % letter.answer.status
        head, body = kept_of(letter.answer.head, letter.answer.body, KEPT_REPLY)
        if head is not None:
            extra["reply_head"] = head
            extra["reply_body"] = body
    if request.key is not None:
        extra["key"] = request.key
    entry = copy_of(request, **extra)
    # Keyed by id: the newest record of a key says whether it is still dead.
    key = letter_key(request.id, request.generation)
    return topics.dead_place, entry._replace(key=key)


def _nothing(_: Appended) -> None:
    pass
