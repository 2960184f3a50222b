"""A head that comes in pieces, or that is large."""

from __future__ import annotations

import re
from typing import cast

import httptools

from bufferproxy.http1.framing import read_line
from bufferproxy.http1.limits import LINE_SLACK, Limits
from bufferproxy.http1.problems import Problem, bad_request

END = b"\r\n\r\n"
_EMPTY_LINES = re.compile(rb"(?:\r\n)*+")


class PartialHead:
    """Keeps what came, watches limits, finds the end.

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
        if buffer[:2] == b"\r\n":
            del buffer[: cast("re.Match[bytes]", _EMPTY_LINES.match(buffer)).end()]
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
