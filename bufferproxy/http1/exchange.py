"""One request and its answer, as the steps above the wire see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from bufferproxy.http1.framing import Fields, Head
from bufferproxy.http1.problems import Problem, render
from bufferproxy.http1.replies import BODILESS, STATUS_LINES, bodiless, framed, status_line


class Handler(Protocol):
    """What the wire calls for each request, on the event loop. Neither method may raise or block."""

    def begin(self, exchange: Exchange) -> int | Problem:
        """The head is complete. Return how many bytes of body are allowed, or the refusal, which is sent at
        once. A caller that waits for a 100 is told to go on only after this."""
        ...

    def handle(self, exchange: Exchange) -> None:
        """The whole request is here. Answer it, now or later, with one of `exchange`'s methods."""
        ...


class Wire(Protocol):
    """The connection, as an exchange needs it."""

    draining: bool
    """The next answer is the last one here."""

    def date_line(self) -> bytes: ...

    def answer(self, head: bytes, body: bytes, *, close: bool) -> None:
        """Send the whole answer; the exchange is over."""
        ...

    def push(self, data: bytes) -> bool:
        """Send part of a stream. False: the caller does not keep up."""
        ...

    def held(self) -> None:
        """The caller will wait: from now on a half-closed connection counts as one that is given up."""
        ...

    def cut(self, data: bytes) -> None:
        """Send the end of a stream and close the connection."""
        ...


class Exchange:
    """A request, and the one chance to answer it. Once the caller is gone every answer is a no-op.

    `head` is what it began with, shared with others that began with the same bytes. Of it: `target` is in
    origin form, or `*`; `version` is `1.0` or `1.1`; `scheme` http or https; `client` the
    peer's address, empty when unknown; `host` the Host header, empty when an HTTP/1.0 caller sent none.
    `length` is the body's as declared, None when it comes in chunks. `body` is complete in `handle`;
    `received_at` is when its last byte came, by `Clock.now`. `context` belongs to the handler. `on_hangup`,
    when the handler sets it, is called once if the caller goes before it is answered (never from the setter).
    """

    __slots__ = (
        "_answered",
        "_keep",
        "_on_hangup",
        "_wire",
        "body",
        "client",
        "context",
        "head",
        "received_at",
        "scheme",
        "stream_open",
    )

    def __init__(self, wire: Wire, head: Head, client: str, scheme: str) -> None:
        self.head = head
        self.client = client
        self.scheme = scheme
        self.body = b""
        self.received_at = 0.0
        self.context: Any = None
        self.stream_open: Stream | None = None
        self._wire: Wire | None = wire
        self._answered = False
        self._keep = head.keep
        self._on_hangup: Callable[[], None] | None = None

    @property
    def method(self) -> bytes:
        return self.head.method

    @property
    def target(self) -> bytes:
        return self.head.target

    @property
    def version(self) -> bytes:
        return self.head.version

    @property
    def headers(self) -> Fields:
        return self.head.headers

    @property
    def host(self) -> bytes:
        return self.head.host

    @property
    def length(self) -> int | None:
        return self.head.length

    @property
    def on_hangup(self) -> Callable[[], None] | None:
        return self._on_hangup

    @on_hangup.setter
    def on_hangup(self, callback: Callable[[], None] | None) -> None:
        self._on_hangup = callback
        if callback is not None and self._wire is not None:
            self._wire.held()

    @property
    def gone(self) -> bool:
        """Whether the caller hung up before it was answered."""
        return self._wire is None and not self._answered

    def reply(self, status: int, head: bytes, body: bytes) -> None:
        """Answer in our own name: Date and Content-Length are added. `head` is header lines, each ended by
        CRLF, without a Content-Length."""
        wire = self._claim()
        if wire is None:
            return
        begin = STATUS_LINES.get(status) or status_line(status)
        date = wire.date_line()
        if self.head.plain and self._keep and not wire.draining and status not in BODILESS:
            length = b"Content-Length: %d\r\n\r\n" % len(body)
            wire.answer(b"".join((begin, date, head, length)), body, close=False)
        else:
            self._answer(wire, status, begin + date + head, body)

    def reply_raw(self, head: bytes, body: bytes) -> None:
        """Pass on a service's answer as it came: `head` is its status line and its header lines. Only what
        frames the body here is added where it is missing, and the version becomes our own."""
        wire = self._claim()
        if wire is not None:
            self._answer(wire, int(head[9:12]), b"HTTP/1.1" + head[8:], body)

    def refuse(self, problem: Problem) -> None:
        status, head, body = render(problem)
        self.reply(status, head, body)

    def stream(self, status: int, head: bytes) -> Stream:
        """Answer with a body that comes bit by bit; the connection closes behind it."""
        wire = self._claim()
        chunked = self.version == b"1.1"
        stream = self.stream_open = Stream(wire, chunked=chunked, silent=self.method == b"HEAD")
        if wire is not None:
            coding = b"Transfer-Encoding: chunked\r\n" if chunked else b""
            lines = status_line(status) + wire.date_line() + head + coding
            wire.push(lines + b"Connection: close\r\n\r\n")
        return stream

    def close_after(self) -> None:
        """Make the answer to this request the last one on its connection."""
        self._keep = False

    def go_on(self) -> None:
        """Called by the connection when a caller that did not keep up does so again."""
        if self.stream_open is not None and self.stream_open.on_writable is not None:
            self.stream_open.on_writable()

    def hang_up(self) -> None:
        """Called by the connection, once, when it is lost before the answer has ended."""
        self._wire = None
        if self.stream_open is not None:
            self.stream_open.lose()
        elif self._on_hangup is not None:
            self._on_hangup()

    def _claim(self) -> Wire | None:
        """The connection to answer on; None when the caller is gone. Raises on a second answer."""
        if self._answered:
            raise RuntimeError(f"{self!r} is answered already")
        wire = self._wire
        if wire is not None:
            self._answered = True
            self._wire = None
        return wire

    def _answer(self, wire: Wire, status: int, lines: bytes, body: bytes) -> None:
        head_only = self.method == b"HEAD"
        lines, close = framed(
            lines,
            status,
            len(body),
            head_only=head_only,
            close=wire.draining or not self._keep,
            old=self.version == b"1.0",
        )
        wire.answer(lines, b"" if head_only or bodiless(status) else body, close=close)

    def __repr__(self) -> str:
        state = "answered" if self._answered else "gone" if self._wire is None else "open"
        return f"<Exchange {self.method.decode()} {self.target!r} {state}>"


class Stream:
    """An answer that is being written. `on_closed` is called once if the caller goes before `close`, and
    `on_writable` when one that did not keep up does so again."""

    __slots__ = ("_chunked", "_silent", "_wire", "on_closed", "on_writable")

    def __init__(self, wire: Wire | None, *, chunked: bool, silent: bool) -> None:
        self._wire = wire
        self._chunked = chunked
        self._silent = silent
        self.on_closed: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None

    @property
    def closed(self) -> bool:
        return self._wire is None

    def write(self, data: bytes) -> bool:
        """False when the caller does not keep up, or is gone: what can be left out should be. One that falls
        far behind is cut off."""
        wire = self._wire
        if wire is None:
            return False
        if self._silent or not data:
            return True
        return wire.push(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def close(self) -> None:
        """The end. A second one, and one after the caller is gone, does nothing."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.cut(b"0\r\n\r\n" if self._chunked and not self._silent else b"")

    def break_off(self) -> None:
        """End without an end, so that the caller does not take what it has for the whole."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.cut(b"")

    def lose(self) -> None:
        """Called by the connection when it is lost."""
        wire, self._wire = self._wire, None
        if wire is not None and self.on_closed is not None:
            self.on_closed()
