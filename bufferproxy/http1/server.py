"""The server's half of the wire: bytes from a caller into exchanges, one at a time, and answers back.

No task, timer, lock or closure belongs to a request. A connection is a state and a deadline:

    HEAD --> BODY --> ANSWERING --> HEAD ...      the ordinary round (most requests skip BODY)
      \\        \\--> SKIPPING ------^             refused by its head; the rest of its body is thrown away
       \\-------\\--> CLOSING                     the last answer is on its way, or nothing more is said

What follows the request being answered is kept back unread, so nothing behind a request can spoil its answer.
So is what is more than one turn of the loop should take: it waits for turns that all connections share.
"""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import ClassVar, cast

from bufferproxy.http1.bodies import ChunkedBody, Later, SizedBody, too_large
from bufferproxy.http1.endpoint import Endpoint, Watched
from bufferproxy.http1.exchange import Exchange
from bufferproxy.http1.framing import Head
from bufferproxy.http1.heads import HeadReader
from bufferproxy.http1.limits import HELD_BYTES, JOIN_BYTES, LINGER, SKIP, STREAM_BYTES, TURN_REQUESTS
from bufferproxy.http1.problems import Problem, bad_request, render
from bufferproxy.http1.replies import CONTINUE, last_words

logger = logging.getLogger(__name__)

HEAD, BODY, SKIPPING, ANSWERING, CLOSING = range(5)


class Connection(asyncio.Protocol):
    """One caller's connection. The listener makes it, a class of its own for each endpoint."""

    endpoint: ClassVar[Endpoint]

    def __init__(self) -> None:
        self.deadline = inf
        """By `Clock.now`: when `expire` is due."""
        self.place: Watched | None = None
        """Whose place it takes, when it was admitted before it was made."""
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._client = ""
        self._scheme = "http"
        self._phase = HEAD
        self._heads = HeadReader(self.endpoint.heads)
        self._begun = False
        self._exchange: Exchange | None = None
        self._body: SizedBody | ChunkedBody | None = None
        self._pending = b""
        self._reading = self._writable = True
        self._unsent = 0
        self.draining = self._turning = self._ended = self._lingering = False

    # --- what asyncio calls -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._client = peer[0] if isinstance(peer, tuple) else ""
        self._scheme = "http" if transport.get_extra_info("ssl_object") is None else "https"
        if self.endpoint.admit(self, self.place):
            self._set_deadline(self.endpoint.limits.idle)
        else:
            self._phase = CLOSING
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.endpoint.leave(self)
        self._hang_up()

    def data_received(self, data: bytes) -> None:
        if self._phase >= ANSWERING or self._pending or not self._writable:
            self._hold(data)
        else:
            self._turn(data)

    def eof_received(self) -> bool:
        """The caller sends no more. Returns whether the connection stays, to be answered on."""
        self._ended = True
        if self._scheme == "https" or self._phase == CLOSING:
            return False
        if self._pending and self._phase != ANSWERING:
            return True
        return self._at_end()

    def pause_writing(self) -> None:
        self._writable = False
        self._unsent = self._transport.get_write_buffer_size()
        self._set_deadline(self.endpoint.limits.idle)

    def resume_writing(self) -> None:
        self._writable = True
        if self._phase == ANSWERING:
            self.deadline = inf
            if self._exchange is not None:
                self._exchange.go_on()
        elif self._phase != CLOSING:
            self._set_deadline(self.endpoint.limits.idle)
            self._resume()

    # --- what the endpoint and the listener call --------------------------------------------------------

    @property
    def waiting(self) -> bool:
        return self._phase != ANSWERING

    def shutdown(self) -> None:
        """Finish the exchange under way, then close."""
        self.draining = True
        if self._phase == HEAD and not self._begun and not self._pending:
            self._close()

    def abort(self) -> None:
        self._transport.abort()

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        if not self._writable or (self._phase == CLOSING and not self._lingering):
            self._check_progress(now)
        elif self._phase == HEAD and self._begun:
            self._refuse(Problem("receive-timeout", "The headers did not arrive in time."))
        elif self._phase == BODY:
            self._refuse(Problem("receive-timeout", "The body did not arrive in time."))
        else:
            self._close()

    # --- reading ----------------------------------------------------------------------------------------

    def _turn(self, data: bytes) -> None:
        """Take requests out of `data`, until one has to be waited for, or as many as one turn takes."""
        self._turning = True
        left = TURN_REQUESTS
        while data:
            phase = self._phase
            if phase >= ANSWERING or not self._writable:
                self._hold(data)
                break
            if phase != HEAD:
                data = self._read_body(data)
            elif left:
                left -= 1
                data = self._read_head(data)
            else:
                self._read_later(data)
                break
        self._turning = False

    def _read_head(self, data: bytes) -> bytes:
        found = self._heads.read(data)
        if found is None:
            if not self._begun and self._heads.begun:
                self._begun = True
                self._set_deadline(self.endpoint.limits.headers)
            return b""
        self._begun = False
        if isinstance(found, Problem):
            return self._refuse(found)
        head, data, at = found
        exchange = self._exchange = Exchange(self, head, self._client, self._scheme)
        try:
            allowed = self.endpoint.handler.begin(exchange)
        except Exception:
            logger.exception("the handler failed on %r", exchange)
            return self._fail()
        length = head.length
        if length is not None and isinstance(allowed, int) and length <= allowed:
            end = at + length
            if end <= len(data):
                exchange.body = data[at:end]
                self._handle(exchange)
                return data[end:]
        return self._await_body(exchange, allowed, data[at:])

    def _await_body(self, exchange: Exchange, allowed: int | Problem, rest: bytes) -> bytes:
        head = exchange.head
        if not isinstance(allowed, int):
            return self._decline(exchange, allowed, head, rest)
        length = head.length
        if length is None:
            self._body = ChunkedBody(allowed, self.endpoint.limits)
        elif length > allowed:
            return self._decline(exchange, self._told(too_large(allowed)), head, rest)
        else:
            self._body = SizedBody(length)
        self._phase = BODY
        self._set_deadline(self.endpoint.limits.body)
        if head.expects and not rest:
            self._transport.write(CONTINUE)
        return rest

    def _read_body(self, data: bytes) -> bytes:
        body = cast("SizedBody | ChunkedBody", self._body)
        rest = body.feed(data)
        if rest is None:
            return b""
        if isinstance(rest, Problem):
            return self._refuse(rest)
        if isinstance(rest, Later):
            self._read_later(rest.rest)
            return b""
        self._body = None
        if self._phase == SKIPPING:
            self._next()
        else:
            exchange = cast("Exchange", self._exchange)
            exchange.body = body.whole()
            self._handle(exchange)
        return rest

    def _handle(self, exchange: Exchange) -> None:
        self._phase = ANSWERING
        self.deadline = inf
        exchange.received_at = self.endpoint.clock.now()
        try:
            self.endpoint.handler.handle(exchange)
        except Exception:
            logger.exception("the handler failed on %r", exchange)
            self._fail()

    def _fail(self) -> bytes:
        """A handler broke its promise not to raise. The caller learns that nothing is certain."""
        self._transport.abort()
        self._phase = CLOSING
        return b""

    def _hold(self, data: bytes) -> None:
        """Keep what cannot be read yet; when it is too much, stop the caller."""
        if self._phase == CLOSING:
            return
        self._pending += data
        if self._reading and len(self._pending) > HELD_BYTES:
            self._reading = False
            self._transport.pause_reading()

    def _read_later(self, data: bytes) -> None:
        self._hold(data)
        self.endpoint.turns.later(self._resume)

    def _resume(self) -> None:
        """Go on with what was kept back, and, where it was all, with the end."""
        if self._phase < ANSWERING and self._writable:
            data, self._pending = self._pending, b""
            self._read_on()
            self._turn(data)
        if not self._ended or self._phase == CLOSING or (self._pending and self._phase != ANSWERING):
            return
        if not self._at_end():
            self._close()

    def _read_on(self) -> None:
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()

    def _at_end(self) -> bool:
        """The caller sends no more and all it sent is read. Returns whether it is still to be answered.

        A half-closed connection looks like one that was given up. Whoever is answered at once gets the
        answer; a caller that is held counts as gone, for it must not keep a place in the queue.
        """
        exchange = self._exchange
        if self._phase == ANSWERING and exchange is not None:
            if exchange.on_hangup is None and exchange.stream_open is None:
                return True
            self._hang_up()
            return False
        if self._phase == BODY or self._begun:
            self._refuse(bad_request("The request ends before its end."))
            return True
        return False

    def _hang_up(self) -> None:
        self._phase = CLOSING
        self._pending = b""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.hang_up()

    # --- answering --------------------------------------------------------------------------------------

    def date_line(self) -> bytes:
        return self.endpoint.date_line

    def answer(self, head: bytes, body: bytes, *, close: bool) -> None:
        self._exchange = None
        if len(body) > JOIN_BYTES:
            self._transport.writelines((head, body))
        else:
            self._transport.write(head + body)
        if close:
            self._close()
        else:
            self._next()

    def push(self, data: bytes) -> bool:
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > STREAM_BYTES:
            self._transport.abort()
        return self._writable

    def held(self) -> None:
        if self._ended and not self._turning:
            asyncio.get_running_loop().call_soon(self._resume)

    def cut(self, data: bytes) -> None:
        self._exchange = None
        if data:
            self._transport.write(data)
        self._close()

    def _next(self) -> None:
        """The exchange is over; the connection goes on."""
        self._phase = HEAD
        endpoint = self.endpoint
        self.deadline = endpoint.clock.now() + endpoint.limits.idle
        if (self._pending or self._ended) and not self._turning:
            # Not from here: whoever answered is not to find itself answering the next request as well.
            asyncio.get_running_loop().call_soon(self._resume)

    def _decline(self, exchange: Exchange, problem: Problem, head: Head, rest: bytes) -> bytes:
        """Refuse a request by its head. Its body, when short and surely coming, is skipped."""
        length = head.length
        here = length is not None and length <= len(rest)
        if length is None or not (here or (length <= SKIP and not head.expects)):
            self._refuse(problem, told=True)
            return b""
        exchange.refuse(problem)
        if self._phase == CLOSING or not length:
            return rest
        self._body = SizedBody(length)
        self._phase = SKIPPING
        self._set_deadline(self.endpoint.limits.body)
        return rest

    def _refuse(self, problem: Problem, *, told: bool = False) -> bytes:
        """Refuse and close: where the next request would begin is unknown, or too far away."""
        if not told:
            self._told(problem)
        exchange, self._exchange = self._exchange, None
        head_only = exchange is not None and exchange.method == b"HEAD"
        self._transport.write(last_words(render(problem), self.date_line(), head_only=head_only))
        self._linger()
        return b""

    def _told(self, problem: Problem) -> Problem:
        """The handler knows of its own refusals; those made here are told to whoever counts."""
        if self.endpoint.refused is not None:
            self.endpoint.refused(problem)
        return problem

    # --- closing ----------------------------------------------------------------------------------------

    def _close(self) -> None:
        """Close when all is sent."""
        if self._pending and not self._lingering:
            self._linger()
            return
        self._phase = CLOSING
        self._lingering = False
        self._unsent = self._transport.get_write_buffer_size()
        self._set_deadline(self.endpoint.limits.idle)
        self._transport.close()

    def _linger(self) -> None:
        """Say that no more comes, and throw away what is still sent, for a while: see LINGER."""
        self._pending = b""
        self._begun = False
        self._body = None
        if self._ended or not self._transport.can_write_eof():
            self._close()
            return
        self._phase = CLOSING
        self._lingering = True
        self._set_deadline(LINGER)
        self._transport.write_eof()
        self._read_on()

    def _check_progress(self, now: float) -> None:
        """A caller that takes nothing of what it was sent is cut off; a slow one is not."""
        unsent = self._transport.get_write_buffer_size()
        if unsent >= self._unsent:
            self._transport.abort()
            return
        self._unsent = unsent
        self.deadline = now + self.endpoint.limits.idle

    def _set_deadline(self, seconds: float) -> None:
        self.deadline = self.endpoint.clock.now() + seconds

    def __repr__(self) -> str:
        phase = ("head", "body", "skipping", "answering", "closing")[self._phase]
        return f"<Connection {self._client} {phase} {len(self._pending)} bytes held>"


def protocol_class(endpoint: Endpoint) -> type[Connection]:
    """What a listener makes the connections of this endpoint of."""
    return type("Connection", (Connection,), {"endpoint": endpoint})
