"""The head of a request as the service shall receive it, made once, at acceptance. Pure.

Kept: every end-to-end header, name in its case, value byte for byte, repeated ones, in order. Dropped: what
is hop by hop, what `Connection` names (as far as it may), `Prefer` and `Bufferproxy-*`, which are for this
proxy. Content-Length stands where the caller's stood, or where its Transfer-Encoding did. `Via` and
`X-Forwarded-*` extend the caller's last line of that name, or follow at the end. Nothing else is added.

Loops: each bufferproxy signs `Via` with a pseudonym, `bufferproxy-<hex>`, of its own. A request that comes
with it has been here before. Two bufferproxies in a row have different ones and are no loop; replicas that
share a log may share one, and a loop is then found at the first repetition instead of when it meets the same
replica again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bufferproxy.http1.hop import HOP_BY_HOP, named_by_connection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HeaderList = list[tuple[bytes, bytes]]

_KEEP, _DROP, _CONNECTION, _LENGTH, _CODING, _HOST, _VIA, _FOR, _PROTO, _FORWARDED_HOST = range(10)
_MEANING = {
    **dict.fromkeys(HOP_BY_HOP, _DROP),
    b"connection": _CONNECTION,
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"prefer": _DROP,
    b"host": _HOST,
    b"via": _VIA,
    b"x-forwarded-for": _FOR,
    b"x-forwarded-proto": _PROTO,
    b"x-forwarded-host": _FORWARDED_HOST,
}
_ADDED = {
    _VIA: b"Via",
    _FOR: b"X-Forwarded-For",
    _PROTO: b"X-Forwarded-Proto",
    _FORWARDED_HOST: b"X-Forwarded-Host",
}

# Names as they came -> what they mean: a look-up is a tenth of lowering and comparing. The names are chosen
# by callers, so it is bounded; when it is full, new names are only slower.
_SEEN: dict[bytes, int] = {}
_SEEN_MOST = 1024
_SEEN_LONGEST = 64


def pseudonym(token: bytes) -> bytes:
    """How this bufferproxy signs `Via`. `token` must differ between deployments: random bytes at start, or a
    digest of what the replicas of one deployment, and only they, have in common."""
    return b"bufferproxy-" + token.hex().encode("ascii")


def end_to_end(
    method: bytes,
    target: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    *,
    body_length: int,
    client: str,
    scheme: str,
    via: bytes,
    version: bytes = b"1.1",
) -> bytes:
    """Request line and header lines, each ended by CRLF, without the empty line: `Request.head`.

    `client` is the caller's address ("" when unknown, and then not told), `via` this proxy's pseudonym,
    `version` the HTTP version that the caller spoke. `headers` must have passed the framing rules of the
    server's side: no two lengths, at most one Host.
    """
    lines = [b"%b %b HTTP/1.1\r\n" % (method, target)]
    keep = lines.append
    named: set[bytes] = set()
    host: bytes | None = None
    last: dict[int, int] = {}  # Via and X-Forwarded-*: which line is the last of that name
    for name, value in headers:
        meaning = _SEEN.get(name)
        if meaning is None:
            meaning = _look_up(name)
        if meaning == _KEEP:
            keep(b"%b: %b\r\n" % (name, value))
        elif meaning == _HOST:
            host = value
            keep(b"%b: %b\r\n" % (name, value))
        elif meaning == _LENGTH:
            keep(b"%b: %d\r\n" % (name, body_length))
        elif meaning == _CODING:
            keep(b"Content-Length: %d\r\n" % body_length)
        elif meaning >= _VIA:
            last[meaning] = len(lines)
            keep(b"%b: %b\r\n" % (name, value))
        elif meaning == _CONNECTION and value != b"keep-alive":
            named |= named_by_connection(value)
    if named:
        # It may name what stood before it: rare enough to begin again without that.
        kept = [pair for pair in headers if (low := pair[0].lower()) not in named and low != b"connection"]
        return end_to_end(
            method, target, kept,
            body_length=body_length, client=client, scheme=scheme, via=via, version=version,
        )  # fmt: skip
    received_by = b"%b %b" % (version, via)
    if last:
        _extend(lines, last, _own_values(received_by, client, scheme, host))
    else:
        keep(_own_lines(received_by, client, scheme, host))
    return b"".join(lines)


def loops(headers: Iterable[tuple[bytes, bytes]], via: bytes) -> bool:
    """The request has been here before: a `Via` has this proxy's pseudonym."""
    for name, value in headers:  # a generator expression would cost as much again
        if len(name) == 3 and name.lower() == b"via" and via in value:
            hops = [hop.split() for hop in value.split(b",")]
            if any(via in hop[1:2] for hop in hops):
                return True
    return False


def _look_up(name: bytes) -> int:
    lowered = name.lower()
    meaning = _DROP if lowered.startswith(b"bufferproxy-") else _MEANING.get(lowered, _KEEP)
    if len(_SEEN) < _SEEN_MOST and len(name) <= _SEEN_LONGEST:
        _SEEN[name] = meaning
    return meaning


def _own_lines(received_by: bytes, client: str, scheme: str, host: bytes | None) -> bytes:
    """All that is added to a request that no other proxy has touched: one format, not four."""
    if host is None or not client:
        values = _own_values(received_by, client, scheme, host)
        return b"".join([b"%b: %b\r\n" % (_ADDED[meaning], value) for meaning, value in values.items()])
    return b"Via: %b\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n" % (
        received_by, client.encode(), scheme.encode(), host,
    )  # fmt: skip


def _own_values(received_by: bytes, client: str, scheme: str, host: bytes | None) -> dict[int, bytes]:
    values = {_VIA: received_by}
    if client:
        values[_FOR] = client.encode()
    values[_PROTO] = scheme.encode()
    if host is not None:
        values[_FORWARDED_HOST] = host
    return values


def _extend(lines: list[bytes], last: dict[int, int], values: dict[int, bytes]) -> None:
    """Append each value to the last line of its name, or a line of its own."""
    for meaning, value in values.items():
        at = last.get(meaning)
        if at is None:
            lines.append(b"%b: %b\r\n" % (_ADDED[meaning], value))
            continue
        line = lines[at].rstrip(b" \t\r\n")
        lines[at] = b"%b%b%b\r\n" % (line, b" " if line.endswith(b":") else b", ", value)
