"""From bytes to a head: llhttp reads it, `framing` judges it.

The parser is given heads only, whole and exactly to their end. So it never sees a body, a trailer or the
next request: what follows a request cannot spoil it, and an Upgrade cannot stop it half-way. And what it
makes of a head follows from these bytes alone, so that one which comes again need not be read again.
"""

from __future__ import annotations

import httptools

from bufferproxy.http1.framing import Fields, Head, judge, read_line
from bufferproxy.http1.limits import Limits
from bufferproxy.http1.partial import END, PartialHead, lenient_parser, target_too_long
from bufferproxy.http1.problems import Problem, bad_request

_CR = ord("\r")
_TAB = ord("\t")


class _TooMany(Exception):
    """Raised in a callback to make llhttp stop."""


Found = tuple[Head, bytes, int]
"""A head, bytes, and where in them what follows the head begins."""

MEMO_HEADS = 512
MEMO_BYTES = 512 * 1024
_MEMO_LONGEST = 4 * 1024
_MEMO_SIGHTS = 4096


class HeadParser:
    """Parses one head after the other, for all connections of an endpoint.

    `known`: heads by their exact bytes, for callers repeat themselves. Only what was accepted is in it, and
    only when it came twice, so that heads of which each is new cost no memory. Bounded in heads and bytes;
    when it is full it begins anew.
    """

    __slots__ = ("_complete", "_headers", "_known_bytes", "_seen", "known", "limits", "small")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.small = min(limits.header_bytes, limits.target_bytes)
        """A head of at most this many bytes is within both limits."""
        self.known: dict[bytes, Head] = {}
        self._known_bytes = 0
        self._seen: set[int] = set()
        self._headers: Fields = []
        self._complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        headers = self._headers
        if len(headers) > self.limits.header_count:
            raise _TooMany
        headers.append((name, value))

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
            problem = self._too_many() or self._explain(head, error)
            if problem is not None:
                return problem
        headers = self._headers
        if not self._complete:
            return bad_request("The headers are malformed.")
        problem = self._too_many()
        if problem is not None:
            return problem
        if head.find(b" \r\n") >= 0 or (_TAB in head and head.find(b"\t\r\n") >= 0):
            # llhttp leaves white space behind a value in it, which is no part of it (RFC 9110, 5.5).
            headers = [(name, value.rstrip(b" \t")) for name, value in headers]
        judged = judge(line, headers, upgrade=upgrade)
        if isinstance(judged, Head) and len(head) <= _MEMO_LONGEST:
            self._remember(head, judged)
        return judged

    def _too_many(self) -> Problem | None:
        most = self.limits.header_count
        if len(self._headers) <= most:
            return None
        return Problem("headers-too-large", f"At most {most} headers are taken.")

    def _remember(self, raw: bytes, head: Head) -> None:
        # By hash alone: two heads that share one are only remembered early, for `known` compares bytes.
        mark = hash(raw)
        if mark not in self._seen:
            if len(self._seen) >= _MEMO_SIGHTS:
                self._seen.clear()
            self._seen.add(mark)
            return
        if len(self.known) >= MEMO_HEADS or self._known_bytes + len(raw) > MEMO_BYTES:
            self.known.clear()
            self._known_bytes = 0
        self.known[raw] = head
        self._known_bytes += len(raw)

    def _explain(self, head: bytes, error: Exception) -> Problem | None:
        """Why llhttp refused; None when only for a transfer coding, for which `judge` has a better answer."""
        self._headers = []
        self._complete = False
        try:
            lenient_parser(self).feed_data(head)
        except httptools.HttpParserUpgrade:
            return None
        except httptools.HttpParserError:
            return self._too_many() or bad_request(f"{error}.")
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

    def read(self, data: bytes) -> Found | Problem | None:
        """Returns a head and what follows it, or None when more of it has to come."""
        end = data.find(END) + len(END)
        parser = self._parser
        # A CR in front is an empty line before the request.
        if self._partial is None and len(END) <= end <= parser.small and data[0] != _CR:
            raw = data[:end]
        else:
            if self._partial is None:
                self._partial = PartialHead(parser.limits)
            found = self._partial.feed(data)
            if found is None:
                return None
            self._partial = None
            if isinstance(found, Problem):
                return found
            raw, data = found
            end = 0
        head = parser.known.get(raw) or parser.parse(raw)
        return head if isinstance(head, Problem) else (head, data, end)
