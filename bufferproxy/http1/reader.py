"""Bytes from a service -> a Reply: no sockets, no time. llhttp finds the boundaries, this keeps what matters.

llhttp refuses by itself: bare LF, folded lines, two Content-Lengths, Content-Length with Transfer-Encoding,
lengths and chunk sizes that are not digits, control characters. Refused here: versions other than 1.0 and
1.1, a status outside 100 to 599, 101, a Transfer-Encoding other than `chunked` alone.

A reply above one of our limits (its head, its body, its trailers, how small its chunks are) is a reply all
the same, `too_large`, as soon as its status is known: the service has acted on the request, and to fail here
would send it again. Interim replies are dropped as they come; only the deadline ends them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import httptools

from bufferproxy.http1.hop import HOP_BY_HOP, named_by_connection
from bufferproxy.http1.known_heads import KNOWN_HEADS, LONGEST_KNOWN, remember
from bufferproxy.http1.limits import FREE_REPLY_CHUNKS, TURN_BYTES, too_many_chunks
from bufferproxy.http1.pieces import Pieces
from bufferproxy.http1.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from bufferproxy.http1.reply import ReplyLimits


class Malformed(NamedTuple):
    """Not a reply: `Kind.GARBAGE`."""

    detail: str


class _Stop(Exception):
    """Raised in a callback to make llhttp stop; what it means is in the reader's fields."""


_LONGEST_REASON = 256
"""Bytes of a reason that are kept of a head that is not."""

_CHUNK_LINES = 20
"""Bytes that a chunk takes beside what it holds: its size, two line ends."""


class ReplyReader:
    """Reads the replies of one connection, one after the other: `begin`, then `feed` until it returns
    something, or `finish` at the end of the stream. Afterwards `reusable` says whether the connection may
    carry another exchange, and `keep_alive` how many seconds the service keeps it, if it said so.

    While `unread` holds something, `go_on` is due, in another turn of the loop, and nothing is to be fed."""

    __slots__ = (
        "_begun",
        "_chunked",
        "_chunks",
        "_close",
        "_declared",
        "_done",
        "_head_request",
        "_headers_done",
        "_interim",
        "_length_at",
        "_limits",
        "_lines",
        "_malformed",
        "_named",
        "_outcome",
        "_parser",
        "_persist",
        "_pieces",
        "_reason",
        "_received",
        "_retry_after",
        "_size",
        "_status",
        "_too_large",
        "_trailing",
        "keep_alive",
        "reusable",
        "unread",
    )

    def __init__(self, limits: ReplyLimits) -> None:
        self._limits = limits
        self._parser = httptools.HttpResponseParser(self)
        self.begin(head_request=False)
        self._start()

    def begin(self, *, head_request: bool) -> None:
        """Forget the last reply; the next one answers a HEAD, or not."""
        self._head_request = head_request
        self._begun = False
        """Something of this reply was parsed."""
        self.reusable = True
        self.keep_alive: float | None = None
        self.unread = b""

    def _start(self) -> None:
        self._begun = True
        self._received = 0
        """Bytes since the head began; of a body that does not come in chunks they are not counted."""
        self._interim = False
        self._malformed: Malformed | None = None
        self._done = False
        self._forget()

    def _forget(self) -> None:
        self._status = self._size = 0
        self._reason = b""
        self._lines = [b""]  # the first is for the status line
        self._pieces = Pieces()
        self._chunks = 0
        self._named: set[bytes] | None = None
        self._retry_after: bytes | None = None
        self._outcome: bytes | None = None
        self._declared: int | None = None
        self._length_at = 0
        self._chunked = self._close = self._persist = self._too_large = self._headers_done = (
            self._trailing
        ) = False

    def feed(self, data: bytes) -> Reply | Malformed | None:
        """None: more is needed. What follows a complete reply spoils the connection, not the reply."""
        if self._begun:
            return self._parse(data)
        end = data.find(b"\r\n\r\n", 0, LONGEST_KNOWN) + 4
        known = None if end < 4 or self._head_request else KNOWN_HEADS.get(data[:end])
        if (
            known is not None
            and len(data) - end == known.length <= self._limits.body
            and end <= self._limits.head
        ):
            status, head, _, retry_after, outcome, self.keep_alive = known
            return Reply(status, head, data[end:], False, retry_after, outcome)  # noqa: FBT003 - as it is stored
        self._start()
        result = self._parse(data)
        if isinstance(result, Reply) and end >= 4 and self._plain(len(data) - end):
            remember(data[:end], result, self.keep_alive)
        return result

    def _plain(self, length: int) -> bool:
        """What was just parsed is a head and `length` bytes, all that its Content-Length announced."""
        return (
            self.reusable
            and not self._head_request
            and not self._chunked
            and not self._too_large
            and self._declared == length
            and self._status not in {204, 304}
        )

    def go_on(self) -> Reply | Malformed | None:
        """`feed` what was left unread."""
        data, self.unread = self.unread, b""
        return self._parse(data)

    def _parse(self, data: bytes) -> Reply | Malformed | None:
        if len(data) <= TURN_BYTES or self._cheap:
            return self._parse_all(data)
        rest = data[TURN_BYTES:]
        result = self._parse_all(data[:TURN_BYTES])
        if result is not None:
            self.reusable = False
            return result
        if self._cheap:
            return self._parse_all(rest)
        self.unread = rest
        return None

    @property
    def _cheap(self) -> bool:
        """What follows is a body in one piece: to read it is no work."""
        return self._headers_done and not self._chunked

    def _parse_all(self, data: bytes) -> Reply | Malformed | None:
        if not self._cheap:
            self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.reusable = False
            if not self._done:
                return self._malformed or Malformed(f"not a reply in HTTP: {error}")
        if not self._done and self._received > self._limits.head:
            if not self._headers_done:
                return self._above_head()
            if self._padded():
                self._leave_off()
        return self._reply() if self._done else None

    def finish(self) -> Reply | None:
        """The service closed the stream: the reply whose end that is, if there is one."""
        self.reusable = False
        if not self._begun:
            return None
        until_close = self._headers_done and not self._chunked and self._declared is None
        return self._reply() if until_close else None

    # --- called by llhttp -------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._done:
            raise _Stop

    def on_status(self, reason: bytes) -> None:
        self._status = self._parser.get_status_code()
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._headers_done:
            self._trailing = True  # dropped
            return
        special = _SPECIAL.get(name.lower())
        if special is None:
            self._lines.append(b"%b: %b\r\n" % (name, value))
        else:
            special(self, name, value)

    def on_headers_complete(self) -> None:
        parser = self._parser
        status = self._status = parser.get_status_code()
        version = parser.get_http_version()
        if version not in {"1.1", "1.0"}:
            self._refuse(f"HTTP/{version} was not asked for")
        if not 100 <= status <= 599 or status == 101:
            self._refuse(f"status {status} is not an answer")
        if status < 200:
            return
        self._headers_done = True
        # No need to count what came with fewer bytes than that.
        if (self._received > self._limits.head or self._interim) and self._kept() > self._limits.head:
            self._stop_short()
        self._received = 0
        if self._close or (version == "1.0" and (not self._persist or self._chunked)):
            self.reusable = False
        if self._head_request:
            self._done = True
        elif self._declared is None and not self._chunked and status not in {204, 304}:
            self.reusable = False  # the end of the stream is the end of the body

    def on_body(self, data: bytes) -> None:
        if self._done or self._status < 200:
            self._refuse("a body where there can be none")
        self._size += len(data)
        self._chunks += 1
        if self._chunked and too_many_chunks(self._chunks, self._size, FREE_REPLY_CHUNKS):
            self._stop_short()
        if self._size <= self._limits.body:
            self._pieces.add(data)
            return
        self._too_large = True
        self._pieces.clear()
        if self._size > self._limits.discard:
            self._stop_short()

    def on_message_complete(self) -> None:
        if self._headers_done:
            self._done = True
        else:
            self._forget()  # 1xx
            self._interim = True
            self._received = 0

    # --- headers that mean something here ---------------------------------------------------------------

    def _drop(self, name: bytes, value: bytes) -> None:
        pass

    def _on_connection(self, name: bytes, value: bytes) -> None:
        lowered = value.lower()
        if lowered == b"keep-alive":
            self._persist = True
            return
        tokens = {token.strip() for token in lowered.split(b",")}
        self._close = self._close or b"close" in tokens
        self._persist = self._persist or b"keep-alive" in tokens
        named = named_by_connection(value)
        if named:
            self._named = named | (self._named or set())

    def _on_keep_alive(self, name: bytes, value: bytes) -> None:
        for part in value.split(b","):
            parameter, _, seconds = part.strip().partition(b"=")
            if parameter.lower() == b"timeout" and seconds.isdigit():
                self.keep_alive = float(seconds[:9])

    def _on_transfer_encoding(self, name: bytes, value: bytes) -> None:
        if self._chunked or value.strip().lower() != b"chunked":
            self._refuse("a Transfer-Encoding other than chunked")
        self._chunked = True
        self._length_at = len(self._lines)
        self._lines.append(b"")  # the place of the Content-Length that takes its part

    def _on_content_length(self, name: bytes, value: bytes) -> None:
        self._declared = int(value)  # llhttp took it: digits, below 2**64
        self._length_at = len(self._lines)
        self._lines.append(b"%b: %b\r\n" % (name, value))

    def _on_retry_after(self, name: bytes, value: bytes) -> None:
        if self._retry_after is None:
            self._retry_after = value
        self._lines.append(b"%b: %b\r\n" % (name, value))

    def _on_outcome(self, name: bytes, value: bytes) -> None:
        if self._outcome is None:
            self._outcome = value
        self._lines.append(b"%b: %b\r\n" % (name, value))

    # --- the result -------------------------------------------------------------------------------------

    def _reply(self) -> Reply:
        if self._head_request:
            # llhttp was not told that it was a HEAD and waits for a body: it cannot read the next reply.
            self._parser = httptools.HttpResponseParser(self)
        status, lines, body = self._status, self._lines, self._pieces.whole()
        lines[0] = b"HTTP/1.1 %d %b\r\n" % (status, self._reason)
        self._set_length(len(body))
        if self._named:
            lines = lines[:1] + [line for line in lines[1:] if _name(line) not in self._named]
        return Reply(status, b"".join(lines), body, self._too_large, self._retry_after, self._outcome)

    # --- limits -----------------------------------------------------------------------------------------

    def _stop_short(self) -> None:
        """In a callback: nothing more of this reply is read."""
        self._cut()
        raise _Stop

    def _cut(self) -> None:
        self._done = self._too_large = True
        self.reusable = False
        self._pieces.clear()
        if not self._headers_done or self._kept() > self._limits.head:
            self._reason = self._reason[:_LONGEST_REASON]
            self._lines = [b""]
            self._length_at = 0
            self._named = None

    def _leave_off(self) -> None:
        """Too much comes beside the body. When it is trailers the body is whole."""
        if self._trailing and not self._too_large:
            self._done = True
            self.reusable = False
        else:
            self._cut()

    def _above_head(self) -> Reply | Malformed | None:
        """More bytes came than a head may have, and its end did not."""
        if self._status >= 200:
            self._cut()
            return self._reply()
        # An interim reply: nothing of it is kept. But it must have an end.
        return Malformed("a head without an end") if self._received > self._limits.discard else None

    def _padded(self) -> bool:
        """What came beside the body, as chunk extensions and trailers, is more than a head may be."""
        lines = _CHUNK_LINES * (self._chunks + 1)
        return self._received - self._size - lines > self._limits.head

    def _kept(self) -> int:
        return len(self._reason) + sum(map(len, self._lines))

    def _set_length(self, length: int) -> None:
        if self._status == 204:
            if self._length_at:
                self._lines[self._length_at] = b""
        elif self._head_request or self._status == 304 or self._declared == length:
            pass
        elif self._length_at:
            self._lines[self._length_at] = b"Content-Length: %d\r\n" % length
        else:
            self._lines.append(b"Content-Length: %d\r\n" % length)

    def _refuse(self, detail: str) -> None:
        self._malformed = Malformed(detail)
        raise _Stop


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].lower()


_SPECIAL: dict[bytes, Callable[[ReplyReader, bytes, bytes], None]] = {
    **dict.fromkeys(HOP_BY_HOP, ReplyReader._drop),
    b"connection": ReplyReader._on_connection,
    b"keep-alive": ReplyReader._on_keep_alive,
    b"transfer-encoding": ReplyReader._on_transfer_encoding,
    b"content-length": ReplyReader._on_content_length,
    b"retry-after": ReplyReader._on_retry_after,
    b"bufferproxy-outcome": ReplyReader._on_outcome,
}
