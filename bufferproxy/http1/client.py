"""One connection to a service: writes a request exactly as it is handed over, reads the reply.

The write happens inside the call of `exchange`, in the caller's turn of the loop: who has just taken a token
and checked a lease has not been interrupted in between. Every exchange ends in a Reply or in a Failure that
says how far it had come, since that decides whether sending again is safe.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, NamedTuple, cast

from bufferproxy.http1.reader import Malformed, ReplyReader
from bufferproxy.http1.reply import Failure, Kind, Phase, Reply
from bufferproxy.http1.turns import Turns

if TYPE_CHECKING:
    from bufferproxy.clock import Clock
    from bufferproxy.http1.pool import Pool
    from bufferproxy.http1.reply import ReplyLimits
    from bufferproxy.http1.target import Target

IDLE = 4.0
"""Seconds after which an unused connection is not trusted any more: many servers close theirs after five."""

_JOINED = 64 << 10  # below this a copy is cheaper than a second system call
_TICK = 0.001  # no loop has finer timers


class Deadlines(NamedTuple):
    """Seconds. `send`: from the call until the system has taken the last byte. `first_byte`: from then until
    the first byte of the reply. `whole`: from the call until its last byte."""

    send: float = 30.0
    first_byte: float = 30.0
    whole: float = 30.0


class Connection(asyncio.Protocol):
    """Made by `dial`, kept by a Pool. Not thread-safe; one exchange at a time."""

    __slots__ = (
        "_clock",
        "_deadlines",
        "_fresh_until",
        "_least",
        "_loop",
        "_phase",
        "_reader",
        "_retires_at",
        "_sent_at",
        "_started_at",
        "_timer",
        "_timer_at",
        "_transport",
        "_turns",
        "_waiter",
        "_why",
        "authority",
        "exchanges",
        "lost",
        "pool",
        "target",
    )

    def __init__(self, target: Target, clock: Clock, limits: ReplyLimits, turns: Turns | None = None) -> None:
        """`turns`: shared with other connections of the service, so that all of them together take no more of
        the loop than one."""
        self._loop = asyncio.get_running_loop()
        self.target = target
        self.authority = target.authority
        self.lost: asyncio.Future[None] = self._loop.create_future()
        """Done when the socket is closed."""
        self.exchanges = 0
        self.pool: Pool | None = None
        """Which keeps it; None where `dial` was called by somebody else."""
        self._clock = clock
        self._reader = ReplyReader(limits)
        self._turns = Turns() if turns is None else turns
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Reply | Failure] | None = None
        self._deadlines = Deadlines()
        self._least = min(self._deadlines)
        self._phase = Phase.CONNECT
        self._started_at = self._sent_at = self._fresh_until = 0.0
        self._retires_at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._why = "not connected"

    # --- for callers ------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """An exchange can begin: open, not in use, and used recently enough to be trusted."""
        transport = self._transport
        return (
            self._waiter is None
            and transport is not None
            and not transport.is_closing()
            and self._clock.now() < self._fresh_until
        )

    @property
    def busy(self) -> bool:
        """An exchange is under way, awaited or not."""
        return self._waiter is not None

    def exchange(
        self, head: bytes, body: bytes, *, head_request: bool, deadlines: Deadlines
    ) -> asyncio.Future[Reply | Failure]:
        """Write `head` (with its empty line) and `body` now; the future is the reply or what prevented it.

        A closed connection gives a Failure with `sent` False. Who stops waiting for the future must `abort`
        the connection, or hand it to `Pool.release`, which does.
        """
        if self._waiter is not None:
            raise RuntimeError("a connection carries one exchange at a time")
        waiter: asyncio.Future[Reply | Failure] = self._loop.create_future()
        transport = self._transport
        if transport is None or transport.is_closing():
            detail = f"the connection was closed before the send: {self._why}"
            waiter.set_result(Failure(Phase.SEND, Kind.CLOSED, sent=False, detail=detail))
            return waiter
        self._waiter = waiter
        if deadlines is not self._deadlines:
            self._deadlines, self._least = deadlines, min(deadlines)
        self._reader.begin(head_request=head_request)
        self.exchanges += 1
        self._started_at = self._sent_at = self._clock.now()
        self._phase = Phase.FIRST_BYTE
        # The transport calls pause_writing when the system did not take everything at once.
        if len(body) < _JOINED:
            transport.write(head + body if body else head)
        else:
            transport.write(head)
            transport.write(body)
        if self._timer is None or self._timer_at > self._started_at + self._least:
            self._watch(self._started_at)
        return waiter

    def retire(self, at: float) -> None:
        """Begin no exchange from `at` on, by the clock's `now`. One that is under way then goes on to its
        end."""
        self._retires_at = at
        self._fresh_until = min(self._fresh_until, at)

    def close(self) -> None:
        """Close when nothing is under way; what is, fails as `closed`."""
        self._why = "closed here"
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once, also where the other side does not answer any more."""
        self._why = "closed here"
        if self._transport is not None:
            self._transport.abort()

    # --- called by the loop -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        # With the least limit the transport tries to write at once, also under uvloop, and tells when it
        # could not and when it has: that is how the end of the send is known. 0 would not do: TLS transports
        # pause at the limit, and would never resume.
        self._transport.set_write_buffer_limits(high=1, low=0)
        self._fresh_until = self._clock.now() + IDLE

    def pause_writing(self) -> None:
        if self._waiter is not None:
            self._phase = Phase.SEND

    def resume_writing(self) -> None:
        if self._waiter is not None and self._phase is Phase.SEND:
            self._phase = Phase.FIRST_BYTE
            self._sent_at = self._clock.now()
            self._watch(self._sent_at)

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            self._why = "it sent something without being asked"
            cast("asyncio.Transport", self._transport).abort()
            return
        if self._reader.unread:
            self._reader.unread += data  # came before the transport had stopped
            return
        self._heard(self._reader.feed(data))
        if self._reader.unread and self._waiter is not None:
            cast("asyncio.Transport", self._transport).pause_reading()
            self._turns.later(self._go_on)

    def _go_on(self) -> None:
        """Read more of what came, in a turn of its own."""
        if self._waiter is None or not self._reader.unread:
            return
        self._heard(self._reader.go_on())
        if self._waiter is not None and self._reader.unread:
            self._turns.later(self._go_on)
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _read_all(self) -> None:
        """The stream is over: what came of it is read now."""
        while self._waiter is not None and self._reader.unread:
            self._heard(self._reader.go_on())

    def _heard(self, result: Reply | Malformed | None) -> None:
        sending = self._phase is Phase.SEND
        if result is None:
            if not sending:
                self._phase = Phase.REPLY
        elif isinstance(result, Reply):
            self._end(result, reusable=self._reader.reusable and not sending)
        else:
            self._fail(Phase.REPLY, Kind.GARBAGE, result.detail)

    def eof_received(self) -> None:
        # Only this is the service's own end of the stream, over TLS (by uvloop) with its close_notify.
        # connection_lost also comes when this side closes, and would make a whole reply of half a one.
        self._why = "the service closed it"
        self._read_all()
        if self._waiter is not None:
            reply = self._reader.finish()
            if reply is None:
                self._stream_ended(Kind.CLOSED)
            else:
                self._end(reply, reusable=False)
        # Returning None closes the transport: a service that only shuts its sending side has no more to say.

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None:
            self._why = str(error) or type(error).__name__
        self._read_all()
        if self._waiter is not None:
            self._stream_ended(Kind.CLOSED if error is None else Kind.RESET)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._transport = None
        if not self.lost.done():
            self.lost.set_result(None)

    # --- ends -------------------------------------------------------------------------------------------

    @property
    def _open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def _stream_ended(self, kind: Kind) -> None:
        self._fail(self._phase, kind, f"{_WHERE[self._phase]}: {self._why}")

    def _fail(self, phase: Phase, kind: Kind, detail: str) -> None:
        self._end(Failure(phase, kind, sent=True, detail=detail), reusable=False)

    def _end(self, result: Reply | Failure, *, reusable: bool) -> None:
        waiter = cast("asyncio.Future[Reply | Failure]", self._waiter)
        in_order = isinstance(result, Reply) and self._phase is not Phase.SEND and not result.too_large
        self._waiter = None
        self._phase = Phase.CONNECT
        keep = IDLE
        if self._reader.keep_alive is not None:
            keep = min(IDLE, self._reader.keep_alive - 1.0)
        now = self._clock.now()
        if reusable and keep > 0 and now < self._retires_at:
            self._fresh_until = min(now + keep, self._retires_at)
        elif self._transport is not None:
            self._why = "the last exchange ended it"
            if in_order:
                self._transport.close()
            else:
                self._transport.abort()  # nothing that is still on its way matters
        if not waiter.done():
            waiter.set_result(result)

    # --- deadlines: at most one timer a connection, moved only when it would ring too late ----------------

    def _due(self) -> float:
        deadlines = self._deadlines
        whole = self._started_at + deadlines.whole
        if self._phase is Phase.FIRST_BYTE:
            return min(whole, self._sent_at + deadlines.first_byte)
        if self._phase is Phase.SEND:
            return min(whole, self._started_at + deadlines.send)
        return whole

    def _watch(self, now: float) -> None:
        due = self._due()
        if self._timer is not None:
            # The timer of an earlier exchange rings early, looks, and goes on to sleep: cheaper than
            # cancelling one for every exchange.
            if self._timer_at <= due:
                return
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._loop.call_later(max(due - now, _TICK), self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        now = self._clock.now()
        if now < self._due():
            self._watch(now)
            return
        waited = f"no end within {now - self._started_at:.1f} s"
        self._fail(self._phase, Kind.TIMEOUT, f"{_WHERE[self._phase]}: {waited}")

    def __repr__(self) -> str:
        state = "busy" if self._waiter is not None else "open" if self._open else f"closed ({self._why})"
        return f"<Connection {self.target} {state} exchanges={self.exchanges}>"


_WHERE = {
    Phase.CONNECT: "connecting",
    Phase.SEND: "sending the request",
    Phase.FIRST_BYTE: "waiting for the reply",
    Phase.REPLY: "reading the reply",
}
