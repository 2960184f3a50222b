"""What a request's head means, and which heads are refused: pure rules, stricter than the parser's.

A proxy that reads a request otherwise than the next hop does lets a caller smuggle a second one through.
So whatever can be read in two ways is refused and the connection closed, never repaired.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from bufferproxy.http1.problems import Problem, bad_request

Fields = list[tuple[bytes, bytes]]
"""Header fields in order: names in their case, values without the white space around them."""

# All that llhttp knows of HTTP: the registry's (RFC 9110, 16.1), and those of caches, UPnP and Icecast. It
# takes RTSP's with RTSP only.
METHODS = frozenset(
    b"ACL BIND CHECKOUT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY"
    b" OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH SOURCE SUBSCRIBE UNBIND"
    b" UNLINK UNLOCK UNSUBSCRIBE".split()
)
REFUSED_METHODS = frozenset({b"CONNECT", b"TRACE"})
ALLOW = ", ".join(sorted(method.decode() for method in METHODS))

_ASTERISK = frozenset({b"OPTIONS", b"M-SEARCH"})
"""Whose target may be `*`."""

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^ ]+) HTTP/([0-9])\.([0-9])")
_ABSOLUTE = re.compile(rb"(?i:(https?))://([^/?]+)(/[^?]*)?(\?.*)?", re.DOTALL)
# RFC 3986's host and port, without the comma of its sub-delims: two Hosts that somebody merged.
_HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+)(?::[0-9]{0,5})?",
)
_HOST_BYTES = 300
_CACHED_BYTES = 256
_SLASH = ord("/")
_HASH = ord("#")  # an int: bytes.__contains__ is five times slower for bytes
_SPECIAL = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"})
_LENGTH_DIGITS = 19


Line = tuple[bytes, bytes, bytes]
"""A request line: method, target, and version, which is `1.0` or `1.1`."""


class Head:
    """A request up to its body. `target` is in origin form (or `*`), else untouched.

    `host` is empty only when an HTTP/1.0 caller named none. `length` is the body's in bytes, None when it
    comes in chunks. `keep`: the connection may go on afterwards. `expects`: the caller waits for a 100.
    `names`: in lower case, each with its first value.
    `plain`: an answer needs no thought of the caller, who speaks HTTP/1.1, stays, and did not send a HEAD.

    All requests that begin with the same bytes may share one, whoever sent them: nobody changes it. But
    `facts`, None at first, belongs to the handler: what it has found out from these bytes and nothing else.
    """

    __slots__ = (
        "expects", "facts", "headers", "host", "keep", "length", "method", "names", "plain", "target",
        "version",
    )  # fmt: skip

    def __init__(
        self,
        line: Line,
        headers: Fields,
        names: dict[bytes, bytes],
        host: bytes,
        length: int | None,
        *,
        keep: bool,
        expects: bool,
    ) -> None:
        self.method, self.target, self.version = line
        self.headers = headers
        self.names = names
        self.host = host
        self.length = length
        self.keep = keep
        self.expects = expects
        self.plain = keep and self.version == b"1.1" and self.method != b"HEAD"
        self.facts: Any = None


def read_line(line: bytes) -> Line | Problem:
    """Judge a request line, without its CRLF."""
    # The same few lines come again and again; a long one would make the cache large, for an enemy.
    return _read_again(line) if len(line) <= _CACHED_BYTES else _read_line(line)


def _read_line(line: bytes) -> Line | Problem:
    parts = line.split(b" ")
    if len(parts) == 3:
        method, target, version = parts
        if version == b"HTTP/1.1" and method in METHODS:
            return method, target, b"1.1"
    match = _LINE.fullmatch(line)
    if match is None:
        return bad_request("The request line is malformed.")
    method, target, major, minor = match.groups()
    if major != b"1" or minor not in b"01":
        return Problem("version-not-supported", "HTTP/1.1 and HTTP/1.0 are spoken here.")
    if method in REFUSED_METHODS:
        detail = f"{method.decode()} is not taken by this proxy."
        return Problem("method-not-allowed", detail, headers=(("Allow", ALLOW),))
    if method not in METHODS:
        return Problem("method-not-implemented", "The method is not one that this proxy knows.")
    return method, target, b"1." + minor


_read_again = lru_cache(maxsize=1024)(_read_line)


def judge(line: Line, headers: Fields, *, upgrade: bool) -> Head | Problem:
    """Put a head together. `upgrade`: the caller asks for another protocol; it is served as if it had not,
    and the connection closes, for it may go on in that protocol."""
    method, target, version = line
    names: dict[bytes, bytes] = {}
    repeated: Fields = []
    for name, value in headers:
        lowered = name.lower()
        if lowered not in names:
            names[lowered] = value
        elif lowered in _SPECIAL:
            repeated.append((lowered, value))
    found = names
    if repeated:
        # Repeated fields are one list (RFC 9110, 5.3); where a list is not allowed, its comma is refused.
        found = dict(names)
        for lowered, value in repeated:
            found[lowered] += b"," + value
    host = found.get(b"host")
    if host is not None:
        if not _host_is_well_formed(host):
            return bad_request("The Host header is malformed, or there is more than one.")
    elif version == b"1.1":
        return bad_request("The Host header is missing.")
    length = _length(found, version)
    if isinstance(length, Problem):
        return length
    if target[0] != _SLASH or _HASH in target or not target.isascii():
        located = _locate(method, target, host)
        if isinstance(located, Problem):
            return located
        target, host = located
        headers = _with_host(headers, names, host)
    keep = not upgrade and (
        _keeps(found[b"connection"], version) if b"connection" in found else version == b"1.1"
    )
    expects = b"expect" in found and _expects(found[b"expect"], version)
    return Head((method, target, version), headers, names, host or b"", length, keep=keep, expects=expects)


def _length(found: dict[bytes, bytes], version: bytes) -> int | Problem | None:
    length = found.get(b"content-length")
    if b"transfer-encoding" in found:
        if length is not None:
            return bad_request("Content-Length and Transfer-Encoding exclude each other.")
        if version == b"1.0":
            return bad_request("HTTP/1.0 has no Transfer-Encoding.")
        if found[b"transfer-encoding"].lower() != b"chunked":
            return Problem("coding-not-implemented", "The only transfer coding taken is: chunked.")
        return None
    if length is None:
        return 0
    # bytes.isdigit knows ASCII digits only; int() alone would take signs, spaces and underscores.
    if not length.isdigit() or len(length) > _LENGTH_DIGITS:
        return bad_request("The Content-Length is malformed, or there is more than one.")
    return int(length)


def _locate(method: bytes, target: bytes, host: bytes | None) -> tuple[bytes, bytes | None] | Problem:
    """The origin form of a target in another form, and the host: that of the target where it names another
    than the Host header."""
    if not target.isascii() or _HASH in target:
        return bad_request("The request target has a byte that must be escaped.")
    if target == b"*" and method in _ASTERISK:
        return target, host
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        return bad_request("The request target is neither a path nor an http URL.")
    scheme, authority, path, query = match.groups()
    if not _host_is_well_formed(authority):
        return bad_request("The authority of the request target is malformed.")
    if host is None or _normal(scheme, host) != _normal(scheme, authority):
        host = authority
    if path is None and query is None and method == b"OPTIONS":
        return b"*", host
    return (path or b"/") + (query or b""), host


def _normal(scheme: bytes, authority: bytes) -> bytes:
    """One spelling for each authority: in lower case, without the port that its scheme has anyway."""
    lowered = authority.lower()
    return lowered.removesuffix(b":80" if scheme.lower() == b"http" else b":443").removesuffix(b":")


def _with_host(headers: Fields, names: dict[bytes, bytes], host: bytes | None) -> Fields:
    """A proxy puts the host of the target into the place of another one (RFC 9112, 3.2.2)."""
    if host is None or names.get(b"host") == host:
        return headers
    names[b"host"] = host
    if all(name.lower() != b"host" for name, _ in headers):
        return [(b"Host", host), *headers]
    return [(name, host if name.lower() == b"host" else value) for name, value in headers]


@lru_cache(maxsize=1024)
def _host_is_well_formed(host: bytes) -> bool:
    return len(host) <= _HOST_BYTES and _HOST.fullmatch(host) is not None


def _keeps(connection: bytes, version: bytes) -> bool:
    options = tokens(connection)
    if b"close" in options:
        return False
    return version == b"1.1" or b"keep-alive" in options


def _expects(expect: bytes, version: bytes) -> bool:
    """Other expectations are ignored, and all of an HTTP/1.0 caller (RFC 9110, 10.1.1)."""
    return expect.lower() == b"100-continue" and version == b"1.1"


def tokens(value: bytes) -> Sequence[bytes]:
    """The members of a comma-separated list, in lower case."""
    return [token.strip(b" \t") for token in value.lower().split(b",")]
