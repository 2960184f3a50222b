"""The head of a request as the service shall receive it, made once, at acceptance. Pure.

Kept: every end-to-end header, name in its case, value byte for byte, repeated ones, in order. Dropped: what
is hop by hop, what `Connection` names (as far as it may), `Prefer` and `Bufferproxy-*`, which are for this
proxy. Content-Length stands where the caller's stood, or where its Transfer-Encoding did. `Via` and
`X-Forwarded-For` extend the caller's last line of that name, or follow at the end.

`X-Forwarded-Proto`, `-Host` and `-Prefix` have one value each, for a list of them means nothing. That of a
trusted proxy stays, and of several the last, which is its own; anybody else's is dropped. Proto and Host then
follow at the end, and so does Prefix where a prefix was taken off the path: behind what a trusted proxy took
off before. Nothing else is added.

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

_Kept = tuple[list[bytes], dict[int, int], bytes | None, set[bytes]]
"""Lines; of Via and X-Forwarded-*, which line is the last of that name; the host; what Connection names."""

BELIEVED = frozenset({b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-prefix"})
"""Headers of which it matters who sent them."""

_KEEP, _DROP, _CONNECTION, _LENGTH, _CODING, _HOST, _VIA, _FOR, _PROTO, _FORWARDED_HOST, _PREFIX = range(11)
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
    b"x-forwarded-prefix": _PREFIX,
}
_ADDED = {
    _VIA: b"Via",
    _FOR: b"X-Forwarded-For",
    _PROTO: b"X-Forwarded-Proto",
    _FORWARDED_HOST: b"X-Forwarded-Host",
    _PREFIX: b"X-Forwarded-Prefix",
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
    trusted: bool = False,
    prefix: bytes = b"",
) -> bytes:
    """Request line and header lines, each ended by CRLF, without the empty line: `Request.head`.

    `client` is the caller's address ("" when unknown, and then not told), `via` this proxy's pseudonym,
    `version` the HTTP version that the caller spoke, `prefix` what was taken off its path. `trusted`: what
    the caller says of the request's way is believed. `headers` must have passed the framing rules of the
    server's side: no two lengths, at most one Host.
    """
    before, after = around_client(
        method, target, headers,
        body_length=body_length, told=bool(client), scheme=scheme, via=via, version=version,
        trusted=trusted, prefix=prefix,
    )  # fmt: skip
    return before + client.encode() + after


def around_client(
    method: bytes,
    target: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    *,
    body_length: int,
    told: bool,
    scheme: str,
    via: bytes,
    version: bytes = b"1.1",
    trusted: bool = False,
    prefix: bytes = b"",
) -> tuple[bytes, bytes]:
    """What `end_to_end` says before the client's address and behind it: all that callers who send the same
    have in common. With `told` False the address is not told, and the second part is empty."""
    first = b"%b %b HTTP/1.1\r\n" % (method, target)
    lines, last, host, named = _keep_lines(first, headers, body_length, trusted=trusted)
    if named:
        # It may name what stood before it: rare enough to begin again without that.
        kept = [pair for pair in headers if (low := pair[0].lower()) not in named and low != b"connection"]
        lines, last, host, _ = _keep_lines(first, kept, body_length, trusted=trusted)
    if not last and told and host is not None:
        # No other proxy has touched it, as most: one format does.
        lines.append(b"Via: %b %b\r\nX-Forwarded-For: " % (version, via))
        rest = b"\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n" % (scheme.encode(), host)
        if prefix:
            rest += b"X-Forwarded-Prefix: %b\r\n" % prefix
        return b"".join(lines), rest
    values = {_VIA: b"%b %b" % (version, via), _FOR: b"", _PROTO: scheme.encode()}
    if not told:
        del values[_FOR]
    if host is not None:
        values[_FORWARDED_HOST] = host
    if prefix:
        values[_PREFIX] = prefix
    at = _extend(lines, last, values)
    if at is None:
        return b"".join(lines), b""
    lines[at] = lines[at].removesuffix(b"\r\n")  # the address comes here, then this line's end
    return b"".join(lines[: at + 1]), b"\r\n" + b"".join(lines[at + 1 :])


def _keep_lines(
    first: bytes, headers: Sequence[tuple[bytes, bytes]], body_length: int, *, trusted: bool
) -> _Kept:
    lines = [first]
    keep = lines.append
    last: dict[int, int] = {}
    host: bytes | None = None
    named: set[bytes] = set()
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
        elif meaning >= _PROTO:
            own = value.rpartition(b",")[2].strip()
            if trusted and own:
                if meaning in last:
                    lines[last[meaning]] = b""
                last[meaning] = len(lines)
                keep(b"%b: %b\r\n" % (name, own))
        elif meaning >= _VIA:
            last[meaning] = len(lines)
            keep(b"%b: %b\r\n" % (name, value))
        elif meaning == _CONNECTION and value != b"keep-alive":
            named |= named_by_connection(value)
    return lines, last, host, named


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


def _extend(lines: list[bytes], last: dict[int, int], values: dict[int, bytes]) -> int | None:
    """Append each value to the last line of its name, or a line of its own; what has one value keeps it,
    and a prefix goes behind the one before. Returns which line tells of the client, if one does."""
    client: int | None = None
    for meaning, value in values.items():
        at = last.get(meaning)
        if at is None:
            at = len(lines)
            lines.append(b"%b: %b\r\n" % (_ADDED[meaning], value))
        elif meaning == _PREFIX:
            lines[at] = b"%b%b\r\n" % (lines[at].rstrip(b"/\r\n"), value)
        elif meaning < _PROTO:
            line = lines[at].rstrip(b" \t\r\n")
            lines[at] = b"%b%b%b\r\n" % (line, b" " if line.endswith(b":") else b", ", value)
        if meaning == _FOR:
            client = at
    return client
