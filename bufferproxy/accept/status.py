"""The proxy's own paths: `requests/{id}` and `requests/{id}/response`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from bufferproxy import envelope, ids
from bufferproxy.accept import answers
from bufferproxy.accept.admission import foreseen
from bufferproxy.accept.answers import JSON, Standing
from bufferproxy.accept.front import Front
from bufferproxy.accept.preferences import preference
from bufferproxy.clock import Clock
from bufferproxy.errors import EnvelopeError, LogError
from bufferproxy.http1.exchange import Exchange
from bufferproxy.http1.problems import Problem
from bufferproxy.log.contract import LogInspector
from bufferproxy.log.lookups import RecordLookups
from bufferproxy.log.survey import Survey
from bufferproxy.records import Change, Partition, Position, Record, State
from bufferproxy.results.dead_index import Reopened
from bufferproxy.results.dead_view import DeadView
from bufferproxy.results.view import Finding, ResultsView

REOPENED = frozenset({State.DEAD, State.REJECTED, State.EXPIRED, State.CANCELLED})
"""Ends after which a redrive may have opened the id again."""

ALLOW = (("Allow", "GET, HEAD"),)


class Source(NamedTuple):
    """Where a service's requests are looked up. `keep`: `results.keep`, in seconds."""

    front: Front
    keep: float
    survey: Survey


class StatusBook:
    """Answers what became of an id. `flying(id)` tells whether this process is delivering it right now."""

    def __init__(
        self,
        sources: Mapping[int, Source],
        view: ResultsView,
        dead: DeadView,
        log: LogInspector,
        clock: Clock,
        flying: Callable[[str], bool],
    ) -> None:
        """`sources`: by the number of the service."""
        self._sources = sources
        self._view = view
        self._dead = dead
        self._lookups = RecordLookups(log)
        self._clock = clock
        self._flying = flying
        self._asking: set[asyncio.Task[None]] = set()
        self._polls: set[asyncio.Event] = set()
        self._stopping = False
        self.prefix = "/_bufferproxy"
        self.max_wait = 60.0

    def handle(self, exchange: Exchange) -> None:
        asking = asyncio.get_running_loop().create_task(self._answer(exchange))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)

    async def _answer(self, exchange: Exchange) -> None:
        try:
            problem = await self._route(exchange)
        except (EnvelopeError, LogError, TimeoutError) as error:
            problem = Problem("log-unavailable", str(error) or "The log did not answer.", retry_after=1.0)
        if problem is not None:
            exchange.refuse(problem)

    async def _route(self, exchange: Exchange) -> Problem | None:
        path = exchange.target.partition(b"?")[0].decode("ascii")[len(self.prefix) :]
        match path.strip("/").split("/"):
            case ["requests", id_]:
                answer = self._status
            case ["requests", id_, "response"]:
                answer = self._response
            case _:
                return Problem("unknown-request", "There is nothing at this path.")
        if exchange.method not in (b"GET", b"HEAD"):
            return Problem("method-not-allowed", "Only GET and HEAD are known here.", headers=ALLOW)
        return await answer(exchange, id_)

    async def _status(self, exchange: Exchange, id_: str) -> Problem | None:
        asked = preference(exchange.headers)
        if isinstance(asked, Problem):
            return asked
        standing = await self.standing(id_)
        if isinstance(standing, Problem):
            return standing
        if asked.wait and not standing.state.ended:
            standing = await self._changed(exchange, id_, min(float(asked.wait), self.max_wait))
            if isinstance(standing, Problem):
                return standing
        head = JSON
        if not standing.state.ended:
            head += b"Retry-After: %d\r\n" % answers.retry_after(standing.eta or 0.0)
        exchange.reply(200, head, answers.status(standing, self.prefix))
        return None

    async def _changed(self, exchange: Exchange, id_: str, seconds: float) -> Standing | Problem:
        """Long poll: the standing after its end, when the time is over, or when the process stops. Is
        cancelled when the caller hangs up: nothing is kept for it."""
        poll, nonce_text = asyncio.Event(), id_.encode()[ids.NONCE_TEXT]

        def told(change: Change) -> None:
            if change.state.ended and change.id == id_:
                poll.set()

        asking = asyncio.current_task()
        assert asking is not None  # noqa: S101 - see `handle`
        self._polls.add(poll)
        self._view.watchers.watch(nonce_text, told)
        exchange.on_hangup = partial(_cancel, asking)
        try:
            now = await self.standing(id_)  # it may have ended before we watched
            if isinstance(now, Problem) or now.state.ended or self._stopping or exchange.gone:
                return now
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await poll.wait()
        finally:
            exchange.on_hangup = None
            self._view.watchers.unwatch(nonce_text, told)
            self._polls.discard(poll)
        return await self.standing(id_)

    def release_all(self) -> None:
        """The process stops: answers every long poll with the state of the moment, and holds nobody more."""
        self._stopping = True
        for poll in self._polls:
            poll.set()

    async def _response(self, exchange: Exchange, id_: str) -> Problem | None:
        found = await self._find(id_)
        if isinstance(found, Problem):
            return found
        if isinstance(found, Standing) or not found.row.state.ended:
            return Problem("not-finished", "The request has not ended yet.", retry_after=1.0)
        row, end = found
        if end is None or end.reply_head is None:
            if row.error is None:  # its answer is being read this moment
                return Problem("not-finished", "The answer is on its way.", retry_after=1.0)
            if row.error == "reply-too-large":
                return Problem("reply-too-large", answers.TOO_LARGE)
            if row.state is State.EXPIRED:
                return Problem("expired", "It was not sent before it expired.")
            return Problem("dead", row.error or "There was no reply.")
        head = end.reply_head
        if exchange.method == b"GET" and not end.reply_body:
            head = answers.without_length(head)
        exchange.reply_raw(head + b"Bufferproxy-Id: " + id_.encode() + b"\r\n", end.reply_body)
        return None

    async def standing(self, id_: str) -> Standing | Problem:
        """Where a request stands. Raises LogUnavailable."""
        found = await self._find(id_)
        if not isinstance(found, Finding):
            return found
        row, end = found
        identity = ids.parse_id(id_)
        assert identity is not None  # noqa: S101 - `_find` has parsed it
        front = self._sources[identity.service].front
        reply_head = None if end is None else end.reply_head
        # An error that is told beside such an answer is of an end before a redrive.
        answered = reply_head is not None and row.state in (State.DELIVERED, State.REJECTED)
        state, attempts = row.state, row.attempts
        if not state.ended and self._flying(id_):
            state, attempts = State.DELIVERING, attempts + 1
        return Standing(
            id_,
            front.name,
            state,
            attempts,
            None,
            self._eta(front, row.due_at) if state is State.QUEUED else None,
            row.accepted_at,
            row.due_at if state in (State.QUEUED, State.RETRYING) else None,
            row.expires_at,
            row.at if row.state.ended else None,
            None if answered else row.error,
            reply_head,
        )

    async def _find(self, id_: str) -> Finding | Standing | Problem:
        """What is known of the id, its standing when it is queued or open again, or why neither."""
        identity = ids.parse_id(id_)
        source = None if identity is None else self._sources.get(identity.service)
        if identity is None or source is None:
            return _unknown()
        front, keep, survey = source
        sure = self._surely_read(identity, source)
        found: Finding | Standing | Problem | None = await self._view.find(id_)
        if found is None:
            if self._view.behind:
                return Problem("log-unavailable", "The results are still being read.", retry_after=1.0)
            found = None if sure else await self._unread(id_, identity, source)
        if isinstance(found, Standing | Problem):
            return found
        if found is None or found.row.state in REOPENED:
            again = await self._dead.reopened(front.name, id_)
            if again is not None and again.open:
                return self._open_again(id_, front, again)
            if again is not None and (found is None or found.row.at < again.at):  # its new end is being read
                found = await self._view.find_settled(id_, (await survey.settled_anew()).written)
        if found is None or (found.row.state.ended and found.row.at < (self._clock.wall() - keep) * 1000):
            return Problem("result-gone", f"It ended more than {keep:g} s ago.")
        return found

    def _surely_read(self, identity: ids.Identity, source: Source) -> bool:
        """It is settled, and what became of it is among what the view has read, or was never told."""
        front, _, survey = source
        partition = Partition(front.topic(identity.topic) or "", identity.partition)
        committed, written = survey.settled
        return identity.offset < committed.get(partition, 0) and self._view.has_read(written)

    async def _unread(
        self, id_: str, identity: ids.Identity, source: Source
    ) -> Finding | Standing | Problem | None:
        """Of what the view has not read anything of. Costs one read of a record at most, and none of what is
        known to be settled; how far everything is, the survey knows."""
        front, _, survey = source
        position = Position(Partition(front.topic(identity.topic) or "", identity.partition), identity.offset)
        lag = survey.lag(position.partition)
        if lag is None:
            return _unknown()
        if position.offset >= lag.committed:
            record = await self._lookups.record_at(position)
            if record is not None:
                return self._queued(id_, identity, front, record, position.offset - lag.committed)
            if position.offset >= lag.end:  # or it was accepted, has ended and was trimmed, all since then
                return await self._view.find(id_) or _unknown()
        settled = survey.settled
        if position.offset >= settled.committed.get(position.partition, 0):
            settled = await survey.settled_anew()
        return await self._view.find_settled(id_, settled.written)

    def _queued(
        self, id_: str, identity: ids.Identity, front: Front, record: Record, ahead: int
    ) -> Standing | Problem:
        """`ahead`: how many of its partition come before it."""
        request = envelope.request_of(record, front.number, identity.topic)
        if request.id != id_:
            return _unknown()
        position = _rank(ahead, len(front.partitions))
        eta = foreseen(front.backlog, 0 if identity.topic == ids.DELAYED else position - 1)
        if request.due_at is not None:
            eta = max(self._until(request.due_at) or 0.0, eta)
        flying = self._flying(id_)
        return Standing(
            id_,
            front.name,
            State.DELIVERING if flying else State.QUEUED,
            1 if flying else 0,
            None if flying or identity.topic == ids.DELAYED else position,
            None if flying else eta,
            request.accepted_at,
            None if flying else request.due_at,
            expires_at=request.expires_at,
        )

    def _open_again(self, id_: str, front: Front, again: Reopened) -> Standing:
        flying = self._flying(id_)
        state = State.DELIVERING if flying else again.state or State.QUEUED
        return Standing(
            id_,
            front.name,
            state,
            again.attempts + flying,
            None,
            None,
            again.accepted_at or 0,
            again.due_at if state is State.RETRYING else None,
            again.expires_at,
        )

    def _until(self, moment: int | None) -> float | None:
        """Seconds; 0.0 for what is over."""
        return None if moment is None else max(0.0, moment / 1000 - self._clock.wall())

    def _eta(self, front: Front, due_at: int | None) -> float | None:
        until = self._until(due_at)
        return None if until is None else max(until, foreseen(front.backlog, 0))


def _cancel(asking: asyncio.Task[None]) -> None:
    asking.cancel()


def _rank(ahead: int, partitions: int) -> int:
    """Place in the service's queue of what has `ahead` before it in its own partition: the others drain
    alongside."""
    return ahead * partitions + 1


def _unknown() -> Problem:
    return Problem("unknown-request", "There is no request with this id.")
