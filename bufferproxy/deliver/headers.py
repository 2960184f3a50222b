"""What every attempt adds to the head that acceptance made. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bufferproxy.clock import rfc3339

if TYPE_CHECKING:
    from bufferproxy.records import Request

_HOST = re.compile(rb"\r\n(host):[^\r\n]*", re.IGNORECASE)


def outgoing(
    request: Request, attempt: int, *, host: bytes, preserve_host: bool = True, base: bytes = b""
) -> bytes:
    """The whole head of attempt number `attempt` (from 1), with its empty line.

    `host` is that of the service: it replaces the caller's unless `preserve_host`, and serves where the
    caller had none (HTTP/1.0). `base` is put before the path.
    """
    head = request.head
    if not preserve_host or (b"\r\nHost:" not in head and not _HOST.search(head)):
        head = _with_host(head, host)
    if base:
        head = _below(base, head)
    id_ = request.id.encode()
    own_key = b"" if request.idempotency_key is not None else b"Idempotency-Key: %b\r\n" % id_
    return b"%bBufferproxy-Id: %b\r\nBufferproxy-Attempt: %d\r\nBufferproxy-Accepted-At: %b\r\n%b\r\n" % (
        head, id_, attempt, rfc3339(request.accepted_at).encode(), own_key,
    )  # fmt: skip


def _with_host(head: bytes, host: bytes) -> bytes:
    replaced, count = _HOST.subn(lambda found: b"\r\n%b: %b" % (found[1], host), head, count=1)
    if count:
        return replaced
    line, _, rest = head.partition(b"\r\n")
    return b"%b\r\nHost: %b\r\n%b" % (line, host, rest)


def _below(base: bytes, head: bytes) -> bytes:
    """`OPTIONS *` asks about the whole service and stays as it is."""
    method, _, rest = head.partition(b" ")
    return b"%b %b%b" % (method, base, rest) if rest.startswith(b"/") else head
