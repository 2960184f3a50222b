"""Serves an ASGI application over our own wire, so that the admin plane has the limits and deadlines of the
data plane: for each request a task, as many as there may be connections."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from bufferproxy.admin.problems import Problem as AdminProblem
from bufferproxy.http1.problems import Problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Scope

    from bufferproxy.http1.exchange import Exchange, Stream

logger = logging.getLogger(__name__)

BODY_BYTES = 1024 * 1024
"""Most bytes of a request's body."""

COLLECT_BYTES = 4 * 1024 * 1024
"""An answer in parts that has a Content-Length of at most this is put together before it is sent."""

PIECE_BYTES = 64 * 1024
"""A stream is written in pieces of at most this, each when the caller has taken the ones before."""

MOST_CALLS = 256
"""Requests under way, those among them whose callers have gone."""

_BUSY = AdminProblem(503, "busy", "As many requests are under way as there may be.", {"Retry-After": "1"})
_BUG = AdminProblem(500, "internal-error", "This is a bug; the log has its traceback.")
_TOO_MANY = AdminProblem(503, "too-many-streams", "As many streams are open as there may be.")


class AsgiHandler:
    """A Handler for the wire. `streams`: most answers without an end at once, so that there is always room
    for those with one."""

    def __init__(self, app: ASGIApp, streams: int) -> None:
        self.app = app
        self._most_streams = streams
        self.streams = 0
        self._calls: dict[asyncio.Task[None], _Call] = {}

    def begin(self, exchange: Exchange) -> int | Problem:
        return BODY_BYTES

    def handle(self, exchange: Exchange) -> None:
        if len(self._calls) >= MOST_CALLS:
            _refuse(exchange, _BUSY)
            return
        call = _Call(self, exchange)
        task = asyncio.get_running_loop().create_task(call.run(self.app))
        self._calls[task] = call
        task.add_done_callback(self._calls.pop)

    def may_stream(self) -> bool:
        return self.streams < self._most_streams

    def end_streams(self) -> None:
        """Tell every application that streams that its caller is gone: the process stops."""
        for call in tuple(self._calls.values()):
            if call.streaming:
                call.gone()

    async def stop(self) -> None:
        """Cancel what is still under way: its callers have been cut off."""
        tasks = list(self._calls)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __repr__(self) -> str:
        return f"<AsgiHandler {len(self._calls)} under way, {self.streams} streams>"


class _Call:
    """One request, as the application sees it."""

    def __init__(self, handler: AsgiHandler, exchange: Exchange) -> None:
        self._handler = handler
        self._exchange = exchange
        self._asked = False
        self._start: Message | None = None
        self._parts: list[bytes] = []
        self._stream: Stream | None = None
        self._over = False
        """The answer has ended, or nobody waits for it."""
        self._disconnected = asyncio.Event()
        self._writable = asyncio.Event()

    @property
    def streaming(self) -> bool:
        return self._stream is not None and not self._over

    async def run(self, app: ASGIApp) -> None:
        try:
            await app(scope_of(self._exchange), self._receive, self._send)
        except Exception:
            logger.exception("the admin plane failed on %r", self._exchange)
        finally:
            self._end()

    def gone(self) -> None:
        """The caller is gone, or is to be left."""
        self._disconnected.set()
        self._writable.set()

    # --- what the application calls -----------------------------------------------------------------------

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._exchange.body, "more_body": False}
        if not self._over and self._stream is None:
            # It wants to know: from here on a half-closed connection counts as one that is given up.
            self._exchange.on_hangup = self.gone
        if not self._over and not self._exchange.gone:
            await self._disconnected.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if self._start is not None:
                raise RuntimeError("the answer has begun already")
            self._start = message
        elif message["type"] == "http.response.body":
            if self._start is None:
                raise RuntimeError("the answer has not begun")
            if not self._over:
                await self._body(self._start, message.get("body", b""), more=message.get("more_body", False))

    # --- the answer ---------------------------------------------------------------------------------------

    async def _body(self, start: Message, body: bytes, *, more: bool) -> None:
        if self._stream is None and more and not self._collects(start):
            self._open(start)
        if self._stream is not None:
            await self._write(self._stream, body)
            if not more:
                self._close()
            return
        if self._over:
            return
        self._parts.append(body)
        if not more:
            self._answer(start, b"".join(self._parts))

    def _collects(self, start: Message) -> bool:
        declared = _header(start, b"content-length")
        return declared is not None and declared.isdigit() and int(declared) <= COLLECT_BYTES

    def _answer(self, start: Message, body: bytes) -> None:
        """The whole answer. What a HEAD is told of its length is the application's."""
        head_only = self._exchange.method == b"HEAD" and not body
        dropped = () if head_only else (b"content-length",)
        lines = self._lines(start, *dropped)
        self._over = True
        self._exchange.reply(start["status"], lines, body)

    def _open(self, start: Message) -> None:
        if not self._handler.may_stream():
            self._over = True
            _refuse(self._exchange, _TOO_MANY)
            return
        stream = self._exchange.stream(start["status"], self._lines(start, b"content-length"))
        stream.on_closed, stream.on_writable = self.gone, self._writable.set
        self._stream = stream
        self._handler.streams += 1

    async def _write(self, stream: Stream, body: bytes) -> None:
        for at in range(0, len(body), PIECE_BYTES):
            if stream.closed:
                return
            self._writable.clear()
            if not stream.write(body[at : at + PIECE_BYTES]) and not stream.closed:
                await self._writable.wait()

    def _close(self) -> None:
        if self._stream is not None and not self._over:
            self._over = True
            self._handler.streams -= 1
            self._stream.close()

    def _end(self) -> None:
        """The application is done: an answer that it owes is an error, one it has not ended is cut off."""
        if self._stream is not None and not self._over:
            self._over = True
            self._handler.streams -= 1
            self._stream.break_off()
        elif not self._over:
            self._over = True
            _refuse(self._exchange, _BUG)

    def _lines(self, start: Message, *dropped: bytes) -> bytes:
        """Header lines; what frames the answer is the wire's, and a wish to close it is heeded."""
        if (_header(start, b"connection") or b"").lower() == b"close":
            self._exchange.close_after()
        return _lines(start.get("headers", ()), *dropped)


def _refuse(exchange: Exchange, problem: AdminProblem) -> None:
    response = problem.response()
    exchange.reply(problem.status, _lines(response.raw_headers, b"content-length"), bytes(response.body))


def scope_of(exchange: Exchange) -> Scope:
    path, _, query = exchange.target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": exchange.version.decode(),
        "method": exchange.method.decode(),
        "scheme": exchange.scheme,
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in exchange.headers],
        "client": (exchange.client, 0) if exchange.client else None,
        "server": None,
    }


_FRAMING = frozenset({b"transfer-encoding", b"connection", b"keep-alive", b"date"})


def _lines(headers: Any, *dropped: bytes) -> bytes:
    lines = []
    for name, value in headers:
        if name.lower() in _FRAMING or name.lower() in dropped:
            continue
        if b"\r" in value or b"\n" in value or b"\r" in name or b"\n" in name:
            raise ValueError(f"a line break in the header {name!r}")
        lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join(lines)


def _header(start: Message, wanted: bytes) -> bytes | None:
    return next((value for name, value in start.get("headers", ()) if name.lower() == wanted), None)
