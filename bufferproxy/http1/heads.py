"""From bytes to a head: llhttp reads it, `framing` judges it.

The parser is given heads only, whole and exactly to their end. So it never sees a body, a trailer or the
next request: what follows a request cannot spoil it, and an Upgrade cannot stop it half-way.
"""

from __future__ import annotations

import httptools

from bufferproxy.http1.framing import Fields, Head, judge, read_line
from bufferproxy.http1.limits import LINE_SLACK, Limits
from bufferproxy.http1.problems import Problem, bad_request

END = b"\r\n\r\n"
_CR = ord("\r")
_TAB = ord("\t")


class HeadParser:
    """Parses one head after the other, for all connections of an endpoint."""

    __slots__ = ("_complete", "_headers", "limits", "small")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.small = min(limits.header_bytes, limits.target_bytes)
        """A head of at most this many bytes is within both limits."""
        self._headers: Fields = []
        self._complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._complete = True

    def parse(self, head: bytes) -> Head | Problem:
        """`head`: from the first byte of the request line to the empty line, which it ends with."""
        line = read_line(head[: head.find(b"\r\n")])
        if isinstance(line, Problem):
            return line
        if len(line[1]) > self.limits.target_bytes:
            return target_too_long(self.limits)
        self._headers = []
        self._complete = upgrade = False
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            upgrade = True
        except httptools.HttpParserError as error:
            problem = self._explain(head, error)
            if problem is not None:
                return problem
        headers = self._headers
        if not self._complete:
            return bad_request("The headers are malformed.")
        if len(headers) > self.limits.header_count:
            return Problem("headers-too-large", f"At most {self.limits.header_count} headers are taken.")
        if head.find(b" \r\n") >= 0 or (_TAB in head and head.find(b"\t\r\n") >= 0):
            # llhttp leaves white space behind a value in it, which is no part of it (RFC 9110, 5.5).
            headers = [(name, value.rstrip(b" \t")) for name, value in headers]
        return judge(line, headers, upgrade=upgrade)

    def _explain(self, head: bytes, error: Exception) -> Problem | None:
        """Why llhttp refused; None when only for a transfer coding, for which `judge` has a better answer."""
        self._headers = []
        self._complete = False
        try:
            lenient_parser(self).feed_data(head)
        except httptools.HttpParserUpgrade:
            return None
        except httptools.HttpParserError:
            return bad_request(f"{error}.")
        return None


class HeadReader:
    """Finds heads in what one connection receives."""

    __slots__ = ("_parser", "_partial")

    def __init__(self, parser: HeadParser) -> None:
        self._parser = parser
        self._partial: PartialHead | None = None

    @property
    def begun(self) -> bool:
        """Whether part of a head is here."""
        return bool(self._partial)

    def read(self, data: bytes) -> tuple[Head, bytes] | Problem | None:
        """Returns a head and what follows it, or None when more of it has to come."""
        end = data.find(END) + len(END)
        # A CR in front is an empty line before the request.
        if self._partial is None and len(END) <= end <= self._parser.small and data[0] != _CR:
            taken = (data, b"") if end == len(data) else (data[:end], data[end:])
        else:
            if self._partial is None:
                self._partial = PartialHead(self._parser.limits)
            found = self._partial.feed(data)
            if found is None:
                return None
            self._partial = None
            if isinstance(found, Problem):
                return found
            taken = found
        head = self._parser.parse(taken[0])
        return head if isinstance(head, Problem) else (head, taken[1])


class PartialHead:
    """A head that comes in pieces, or that is large: keeps what came, watches limits, finds its end.

    What is malformed is refused as soon as it is seen, with the same answer that the whole would get.
    """

    __slots__ = ("_buffer", "_error", "_limits", "_parser")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._parser = lenient_parser(object())
        self._error: Exception | None = None

    def __bool__(self) -> bool:
        """Whether a request has begun: the empty lines that may precede it are none of it."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> tuple[bytes, bytes] | Problem | None:
        """Returns (head, what follows it), or None when more has to come."""
        buffer = self._buffer
        seen = len(buffer)
        buffer += data
        if seen < 2:
            seen = 0
            data = self._start()
        end = buffer.find(END, max(0, seen - 3)) + len(END)
        whole = end >= len(END)
        problem = self._over(end if whole else len(buffer))
        if problem is not None:
            return problem
        if whole:
            return bytes(buffer[:end]), bytes(buffer[end:])
        return self._foresee(data) if buffer else None

    def _start(self) -> bytes:
        """Drop empty lines before the request line (RFC 9112, 2.2); returns what the parser has to see.
        A CR alone stays in the buffer: it may become one."""
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):
            del buffer[:2]
        if buffer == b"\r":
            return b""
        # One byte alone was left in the buffer, and kept from the parser, by the call before.
        return bytes(buffer) if len(buffer) != 1 else b""

    def _over(self, size: int) -> Problem | None:
        line_end = self._buffer.find(b"\r\n")
        line = size if line_end < 0 else line_end
        if line > self._limits.target_bytes + LINE_SLACK:
            return target_too_long(self._limits)
        if size - line - 2 > self._limits.header_bytes:
            return Problem(
                "headers-too-large", f"At most {self._limits.header_bytes} bytes of headers are taken."
            )
        return None

    def _foresee(self, data: bytes) -> Problem | None:
        """Refuse what no continuation can make right, once the request line, which decides how, is here."""
        if self._error is None and data:
            try:
                self._parser.feed_data(data)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
                self._error = error
        if self._error is None:
            return None
        line, ended, _ = self._buffer.partition(b"\n")
        if not ended:
            return None
        if not line.endswith(b"\r"):
            return bad_request("A line is not ended by CR LF.")
        judged = read_line(bytes(line[:-1]))
        return judged if isinstance(judged, Problem) else bad_request(f"{self._error}.")


def target_too_long(limits: Limits) -> Problem:
    return Problem("target-too-long", f"At most {limits.target_bytes} bytes of request target are taken.")


def lenient_parser(protocol: object) -> httptools.HttpRequestParser:
    """llhttp without an opinion on transfer codings: `framing` has a stricter one."""
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_transfer_encoding=True)
    return parser
