"""The proxy's own paths: `requests/{id}` and `requests/{id}/response`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

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
from bufferproxy.records import Change, Partition, Position, Record, State
from bufferproxy.results.dead_index import Reopened
from bufferproxy.results.dead_view import DeadView
from bufferproxy.results.index import Row
from bufferproxy.results.view import ResultsView

REOPENED = frozenset({State.DEAD, State.REJECTED, State.EXPIRED, State.CANCELLED})
"""Ends after which a redrive may have opened the id again."""

ALLOW = (("Allow", "GET, HEAD"),)


class StatusBook:
    """Answers what became of an id. `flying(id)` tells whether this process is delivering it right now."""

    def __init__(
        self,
        fronts: Mapping[int, tuple[Front, float]],
        view: ResultsView,
        dead: DeadView,
        log: LogInspector,
        clock: Clock,
        flying: Callable[[str], bool],
    ) -> None:
        """`fronts`: service number -> front, and `results.keep` in seconds."""
        self._fronts = fronts
        self._view = view
        self._dead = dead
        self._log = log
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
        exchange.on_hangup = asking.cancel
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
        """The process stops: answer every long poll with the state of the moment, and hold nobody any more."""
        self._stopping = True
        for poll in self._polls:
            poll.set()

    async def _response(self, exchange: Exchange, id_: str) -> Problem | None:
        row = await self._find(id_)
        if isinstance(row, Problem):
            return row
        if isinstance(row, Standing) or not row.state.ended:
            return Problem("not-finished", "The request has not ended yet.", retry_after=1.0)
        if row.reply is None:
            if row.error is None:  # its answer is being read this moment
                return Problem("not-finished", "The answer is on its way.", retry_after=1.0)
            if row.error == "reply-too-large":
                return Problem("reply-too-large", answers.TOO_LARGE)
            if row.state is State.EXPIRED:
                return Problem("expired", "It was not sent before it expired.")
            return Problem("dead", row.error or "There was no reply.")
        found = await self._change_at(row.reply, id_)
        if found is None or found.reply_head is None:
            return Problem("result-gone", "The answer is no longer kept.")
        head = found.reply_head
        if exchange.method == b"GET" and not found.reply_body:
            head = answers.without_length(head)
        exchange.reply_raw(head + b"Bufferproxy-Id: " + id_.encode() + b"\r\n", found.reply_body)
        return None

    async def standing(self, id_: str) -> Standing | Problem:
        """Where a request stands. Raises LogUnavailable."""
        found = await self._find(id_)
        if not isinstance(found, Row):
            return found
        identity = ids.parse_id(id_)
        assert identity is not None  # noqa: S101 - `_find` has parsed it
        front, _ = self._fronts[identity.service]
        answer = None if found.reply is None else await self._change_at(found.reply, id_)
        # An error that is told beside such an answer is of an end before a redrive.
        answered = answer is not None and found.state in (State.DELIVERED, State.REJECTED)
        state, attempts = found.state, found.attempts
        if not state.ended and self._flying(id_):
            state, attempts = State.DELIVERING, attempts + 1
        return Standing(
            id_,
            front.name,
            state,
            attempts,
            None,
            self._eta(front, found.due_at) if state is State.QUEUED else None,
            found.accepted_at,
            found.due_at if state in (State.QUEUED, State.RETRYING) else None,
            found.expires_at,
            found.at if found.state.ended else None,
            None if answered else found.error,
            None if answer is None else answer.reply_head,
        )

    async def _find(self, id_: str) -> Row | Standing | Problem:
        """A row when something is known of the id, a standing when it is queued, or why neither."""
        identity = ids.parse_id(id_)
        if identity is None or identity.service not in self._fronts:
            return _unknown()
        front, keep = self._fronts[identity.service]
        row = await self._view.find(id_)
        if row is None:
            if self._view.behind:
                return Problem("log-unavailable", "The results are still being read.", retry_after=1.0)
            queued = await self._queued(id_, identity, front)
            if queued is not None:
                return queued
            row = await self._view.find_settled(id_, front.topics)
        if row is None or row.state in REOPENED:
            again = await self._dead.reopened(front.name, id_)
            if again is not None and again.open:
                return self._open_again(id_, front, again)
            if again is not None and (row is None or row.at < again.at):
                row = await self._view.find_settled(id_, front.topics)  # its new end is being read
        if row is None or (row.state.ended and row.at < (self._clock.wall() - keep) * 1000):
            return Problem("result-gone", f"It ended more than {keep:g} s ago.")
        return row

    async def _queued(self, id_: str, identity: ids.Identity, front: Front) -> Standing | Problem | None:
        """None: it lies below the commit, so it has ended or moved."""
        topic = front.topic(identity.topic)
        if topic is None:
            return _unknown()
        partition = Partition(topic, identity.partition)
        lag = (await self._log.lag(front.topics.group, (topic,))).get(partition)
        if lag is None or identity.offset >= lag.end:
            return _unknown()
        if identity.offset < lag.committed:
            return None
        records = await self._log.read(Position(partition, identity.offset), 1)
        if not records or records[0].offset != identity.offset:
            return None  # trimmed meanwhile: settled
        request = envelope.request_of(records[0], front.number, identity.topic)
        if request.id != id_:
            return _unknown()
        position = max(1, _rank(identity.offset - lag.committed, len(front.partitions)))
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

    async def _change_at(self, position: Position, id_: str) -> Change | None:
        """The end of `id_`; None when it is not there any more."""
        records: Sequence[Record] = await self._log.read(position, 1)
        if not records or records[0].offset != position.offset:
            return None
        change = envelope.change_of(records[0])
        return change if change.id == id_ else None


def _rank(ahead: int, partitions: int) -> int:
    """Place in the service's queue of what has `ahead` before it in its own partition: the others drain
    alongside."""
    return ahead * partitions + 1


def _unknown() -> Problem:
    return Problem("unknown-request", "There is no request with this id.")
