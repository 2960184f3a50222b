"""How an answer is laid out on the wire: pure. Whoever answers says what; here the framing is added."""

from __future__ import annotations

from http import HTTPStatus

from bufferproxy.http1.problems import Rendered

STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

BODILESS = frozenset({204, 304, *range(200)})

_LENGTH = b"\r\ncontent-length:"


def status_line(status: int) -> bytes:
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def framed(
    lines: bytes, status: int, length: int, *, head_only: bool, close: bool, old: bool
) -> tuple[bytes, bool]:
    """Complete `lines`, a status line and header lines, for a body of `length` bytes.

    `head_only`: the request was a HEAD. `close`: the connection ends with this answer. `old`: the caller
    speaks HTTP/1.0 (it still gets an HTTP/1.1 status line: RFC 9110, 2.5). Returns the whole head, and
    whether the connection has to close: always when a Content-Length that came with `lines` is not that of
    the body, for then nobody can tell where the next answer begins.
    """
    lowered = lines.lower()
    at = lowered.find(_LENGTH)
    if at >= 0:
        close = close or (not head_only and status != 304 and _declared(lowered, at) != length)
    elif bodiless(status):
        pass
    elif length or not head_only:
        # To a HEAD without a word on its length nothing is said: zero would be a claim about the GET.
        lines += b"Content-Length: %d\r\n" % length
    if close:
        return lines + b"Connection: close\r\n\r\n", True
    return lines + (b"Connection: keep-alive\r\n\r\n" if old else b"\r\n"), False


def last_words(answer: Rendered, date_line: bytes, *, head_only: bool) -> bytes:
    """A refusal behind which the connection closes."""
    status, head, body = answer
    lines = status_line(status) + date_line + head
    lines, _ = framed(lines, status, len(body), head_only=head_only, close=True, old=False)
    return lines if head_only else lines + body


def bodiless(status: int) -> bool:
    return status in BODILESS


def _declared(lowered: bytes, at: int) -> int:
    start = at + len(_LENGTH)
    value = lowered[start : lowered.find(b"\r\n", start)].strip(b" \t")
    return int(value) if value.isdigit() else -1
