"""Requests as bytes, and what has to become of each under LIMITS and ALLOWED: well-formed, malformed, too
large, ambiguous. A front of whatever kind can be tried with them."""

from __future__ import annotations

from typing import NamedTuple

from bufferproxy.http1.limits import Limits

LIMITS = Limits(header_bytes=1000, header_count=10, target_bytes=200)
ALLOWED = 50
PROBE = b"GET /probe HTTP/1.1\r\nHost: a\r\n\r\n"
METHODS = [
    *("ACL", "BIND", "CHECKOUT", "COPY", "DELETE", "GET", "HEAD", "LINK", "LOCK", "M-SEARCH", "MERGE"),
    *("MKACTIVITY", "MKCALENDAR", "MKCOL", "MOVE", "NOTIFY", "OPTIONS", "PATCH", "POST", "PROPFIND"),
    *("PROPPATCH", "PURGE", "PUT", "QUERY", "REBIND", "REPORT", "SEARCH", "SOURCE", "SUBSCRIBE", "UNBIND"),
    *("UNLINK", "UNLOCK", "UNSUBSCRIBE"),
]


class Row(NamedTuple):
    """`handed`: the target and body the handler gets; None when the request is refused. `goes_on`: the
    connection takes another request afterwards."""

    name: str
    request: bytes
    status: int
    slug: str | None
    goes_on: bool
    handed: tuple[bytes, bytes] | None = None


def taken(
    name: str,
    request: bytes,
    target: bytes = b"/",
    body: bytes = b"",
    *,
    goes_on: bool = True,
) -> Row:
    return Row(name, request, 200, None, goes_on, (target, body))


def refused(name: str, request: bytes, status: int = 400, slug: str = "bad-request") -> Row:
    return Row(name, request, status, slug, goes_on=False)


def skipped(name: str, request: bytes, status: int, slug: str) -> Row:
    """Refused, but its end is known and near: the connection goes on behind it."""
    return Row(name, request, status, slug, goes_on=True)


def get(target: bytes = b"/", *fields: bytes, version: bytes = b"1.1", host: bytes = b"Host: a\r\n") -> bytes:
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"GET %b HTTP/%b\r\n%b%b\r\n" % (target, version, host, lines)


def post(*fields: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"POST / HTTP/%b\r\nHost: a\r\n%b\r\n%b" % (version, lines, body)


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


CORE = [
    taken("a GET", get()),
    taken("a POST with a body", post(b"Content-Length: 5", body=b"hello"), body=b"hello"),
    taken("a body of zero bytes", post(b"Content-Length: 0")),
    taken("a POST without a length has no body", post()),
    taken("chunks", chunked(b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"), body=b"abc0123456789"),
    taken("trailers are dropped", chunked(b"1\r\nx\r\n0\r\nHost: b\r\nX-T: 1\r\n\r\n"), body=b"x"),
    taken("an empty line before the request", b"\r\n" + get()),
    taken("many empty lines before the request", b"\r\n" * 4 + get()),
    taken("HTTP/1.0 without a Host", get(version=b"1.0", host=b""), goes_on=False),
    taken("HTTP/1.0 with keep-alive", get(b"/", b"Connection: keep-alive", version=b"1.0")),
    taken("absolute form", get(b"http://a/x?y"), b"/x?y"),
    taken(
        "an upgrade is served as if absent", get(b"/", b"Connection: upgrade", b"Upgrade: x"), goes_on=False
    ),
    refused("two equal Content-Lengths", post(b"Content-Length: 1", b"Content-Length: 1", body=b"x")),
    refused(
        "Content-Length with Transfer-Encoding", post(b"Content-Length: 3", b"Transfer-Encoding: chunked")
    ),
    refused("a missing Host", get(host=b"")),
    refused("two Hosts", get(b"/", b"Host: a")),
    refused("a bare LF", b"GET / HTTP/1.1\nHost: a\n\n"),
    refused("a bare LF behind a header", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
    refused("a folded header", get(b"/", b"X: a\r\n b")),
    refused("an unknown method", b"FROB / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "method-not-implemented"),
    refused("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version-not-supported"),
    refused("HTTP/1.2", get(version=b"1.2"), 505, "version-not-supported"),
    refused("another coding", post(b"Transfer-Encoding: gzip"), 501, "coding-not-implemented"),
    refused("a long target", get(b"/" + b"x" * 200), 414, "target-too-long"),
    refused("large headers", get(b"/", b"X: " + b"x" * 1000), 431, "headers-too-large"),
    refused("many headers", get(b"/", *[b"X: y"] * 10), 431, "headers-too-large"),
    refused("a chunked body that grows too large", chunked(b"33\r\n" + b"x" * 51), 413, "body-too-large"),
    refused("a chunk longer than its size", chunked(b"3\r\nabcd\r\n0\r\n\r\n")),
    refused("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
]

TARGETS = [
    taken("odd bytes stay", get(b'/{}"<>|\\^`'), b'/{}"<>|\\^`'),
    taken("dot segments stay", get(b"/a/../b/./c"), b"/a/../b/./c"),
    taken("escapes stay", get(b"/%2e%2e/%2F%zz"), b"/%2e%2e/%2F%zz"),
    taken("two slashes stay", get(b"//x//y"), b"//x//y"),
    taken("a bare question mark stays", get(b"/x?"), b"/x?"),
    taken("a question mark in the query", get(b"/x?a?b"), b"/x?a?b"),
    taken("semicolons", get(b"/x;a=b;c"), b"/x;a=b;c"),
    taken("a target of the longest length", get(b"/" + b"x" * 199), b"/" + b"x" * 199),
    taken("OPTIONS *", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"*"),
    taken("OPTIONS of a host", b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", b"*"),
    taken("absolute form without a path", get(b"http://a"), b"/"),
    taken("absolute form with a query only", get(b"http://a?x"), b"/?x"),
    taken("absolute form with an empty query", get(b"http://a/?"), b"/?"),
    taken("absolute form, other case", get(b"HTTP://A/x"), b"/x"),
    taken("absolute form, https", get(b"https://a/x"), b"/x"),
    taken("absolute form with a port", get(b"http://a:80/x", host=b"Host: a:80\r\n"), b"/x"),
    taken("absolute form, IPv6", get(b"http://[::1]:80/x", host=b"Host: [::1]:80\r\n"), b"/x"),
    taken(
        "absolute form, HTTP/1.0 without a Host",
        get(b"http://a/x", version=b"1.0", host=b""),
        b"/x",
        goes_on=False,
    ),
    taken("absolute form, another host", get(b"http://b/x"), b"/x"),
    taken("absolute form, another port", get(b"http://a:81/x"), b"/x"),
    taken("absolute form without the port of the Host", get(b"http://a/x", host=b"Host: a:80\r\n"), b"/x"),
    refused("absolute form with a user", get(b"http://u@a/x")),
    refused("absolute form without a host", get(b"http:///x")),
    refused("absolute form without a Host header", get(b"http://a/x", host=b"")),
    refused("another scheme", get(b"ftp://a/x")),
    refused("authority form", get(b"a:80")),
    refused("a name", get(b"x")),
    refused("an asterisk with GET", get(b"*")),
    refused("a fragment", get(b"/x#y")),
    refused("a fragment in absolute form", get(b"http://a/x#y")),
    refused("a byte of 0x80 in the path", get(b"/\x80")),
    refused("UTF-8 in the query", get("/?ü".encode())),
    refused("a NUL in the target", get(b"/\x00")),
    refused("a tab in the target", get(b"/\t")),
    refused("DEL in the target", get(b"/\x7f")),
    refused("a space in the target", get(b"/a b")),
    refused("a target far too long", get(b"/" + b"x" * 5000), 414, "target-too-long"),
]

LINES = [
    refused("two spaces before the target", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    refused("two spaces before the version", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
    refused("a space behind the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    refused("a space before the method", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    refused("a tab for a space", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    refused("no version", b"GET /\r\nHost: a\r\n\r\n"),
    refused("an empty version", b"GET / \r\nHost: a\r\n\r\n"),
    refused("another protocol", b"GET / RTSP/1.0\r\nHost: a\r\n\r\n"),
    refused("a misspelt protocol", b"GET / HTP/1.1\r\nHost: a\r\n\r\n"),
    refused("a protocol in lower case", b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    refused("a version of two digits", get(version=b"11.1")),
    refused("a minor version of two digits", get(version=b"1.10")),
    refused("a version of letters", get(version=b"1.x")),
    refused("HTTP/0.9", get(version=b"0.9"), 505, "version-not-supported"),
    refused("HTTP/2.0", get(version=b"2.0"), 505, "version-not-supported"),
    refused("HTTP/3.0", get(version=b"3.0"), 505, "version-not-supported"),
    refused("an unknown method of another version", b"X / HTTP/2.0\r\n\r\n", 505, "version-not-supported"),
    refused("a method in lower case", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "method-not-implemented"),
    refused("PRI", b"PRI * HTTP/1.1\r\nHost: a\r\n\r\n", 501, "method-not-implemented"),
    taken("a method that llhttp alone knows", b"PURGE / HTTP/1.1\r\nHost: a\r\n\r\n"),
    taken("M-SEARCH", b"M-SEARCH * HTTP/1.1\r\nHost: a\r\n\r\n", b"*"),
    refused("PURGE of everything", b"PURGE * HTTP/1.1\r\nHost: a\r\n\r\n"),
    refused("RTSP's methods", b"DESCRIBE / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "method-not-implemented"),
    refused(
        "a method that the registry alone knows", b"LABEL / HTTP/1.1\r\n\r\n", 501, "method-not-implemented"
    ),
    refused("a method of odd bytes", b"G<T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    refused("an empty method", b" / HTTP/1.1\r\nHost: a\r\n\r\n"),
    refused("CONNECT", b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method-not-allowed"),
    refused("TRACE", b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method-not-allowed"),
    refused("a bare LF before the request", b"\n" + get()),
    refused("a bare CR before the request", b"\r" + get()),
    refused("a line of a CR and nothing", b"\r\r\n\r\n"),
    refused("JSON", b'{"a": 1}\r\n\r\n'),
]

HOSTS = [
    taken("a name with a port", get(host=b"Host: auth.example:8080\r\n")),
    taken("a name with an underscore", get(host=b"Host: my_service\r\n")),
    taken("an IPv4 address", get(host=b"Host: 10.0.0.1:80\r\n")),
    taken("an IPv6 address", get(host=b"Host: [fe80::1]\r\n")),
    taken("white space around the Host", get(host=b"Host: \t a \t\r\n")),
    taken("host in lower case", get(host=b"host: a\r\n")),
    taken("HOST in upper case", get(host=b"HOST:a\r\n")),
    refused("an empty Host", get(host=b"Host:\r\n")),
    refused("a Host of white space", get(host=b"Host:  \r\n")),
    refused("two Hosts that differ", get(b"/", b"host: b")),
    refused("two Hosts in HTTP/1.0", get(b"/", b"Host: b", version=b"1.0")),
    refused("a Host with a list", get(host=b"Host: a,b\r\n")),
    refused("a Host with a space", get(host=b"Host: a b\r\n")),
    refused("a Host with a path", get(host=b"Host: a/b\r\n")),
    refused("a Host with a user", get(host=b"Host: u@a\r\n")),
    refused("a Host with a port of letters", get(host=b"Host: a:b\r\n")),
    refused("a Host with two ports", get(host=b"Host: a:1:2\r\n")),
    refused("a Host with a bracket", get(host=b"Host: [::1\r\n")),
    refused("a Host with a broken escape", get(host=b"Host: a%2\r\n")),
    refused("a Host beyond ASCII", get(host=b"Host: \xc3\xbc\r\n")),
    refused("a Host too long", get(host=b"Host: " + b"a" * 301 + b"\r\n")),
    refused("a Host with a backslash", get(host=b"Host: a\\b\r\n")),
]

HEADERS = [
    taken("an empty value", get(b"/", b"X:")),
    taken("a value beyond ASCII", get(b"/", b"X: \x80\xff")),
    taken("a tab in a value", get(b"/", b"X: a\tb")),
    taken("as many headers as allowed", get(b"/", *[b"X: y"] * 9)),
    taken("as large headers as allowed", get(b"/", b"X: " + b"x" * (1000 - 9 - 5 - 2))),
    taken("a name of odd bytes", get(b"/", b"!#$%&'*+-.^_`|~: x")),
    refused("a space before the colon", get(b"/", b"X : a")),
    refused("a space before the first header", b"GET / HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n"),
    refused("a header fold with a tab", get(b"/", b"X: a\r\n\tb")),
    refused("no colon", get(b"/", b"X")),
    refused("an empty name", get(b"/", b": x")),
    refused("a bracket in a name", get(b"/", b"X(: x")),
    refused("a name beyond ASCII", get(b"/", b"X\xc3: x")),
    refused("a NUL in a value", get(b"/", b"X: a\x00b")),
    refused("a NUL in a name", get(b"/", b"X\x00: b")),
    refused("a control character in a value", get(b"/", b"X: a\x01b")),
    refused("an escape character in a value", get(b"/", b"X: a\x1bb")),
    refused("DEL in a value", get(b"/", b"X: a\x7fb")),
    refused("a bare CR in a value", get(b"/", b"X: a\rb")),
    refused("a bare CR at the end of a value", get(b"/", b"X: a\r")),
    refused("one byte of headers too much", get(b"/", b"X: " + b"x" * 985), 431, "headers-too-large"),
    refused("headers that do not end", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 300, 431, "headers-too-large"),
    refused("a line that does not end", b"GET /" + b"x" * 300, 414, "target-too-long"),
    refused("a fold before the end", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n"),
]

BODIES = [
    taken("the largest body", post(b"Content-Length: 50", body=b"x" * 50), body=b"x" * 50),
    taken("a GET with a body", get(b"/", b"Content-Length: 2") + b"hi", body=b"hi"),
    taken("white space around a length", post(b"Content-Length: \t2 ", body=b"hi"), body=b"hi"),
    taken("leading zeros in a length", post(b"Content-Length: 002", body=b"hi"), body=b"hi"),
    taken(
        "a body that looks like a request", post(b"Content-Length: 33", body=PROBE + b"."), body=PROBE + b"."
    ),
    taken("chunked in another case", post(b"transfer-encoding: ChunkeD", body=b"0\r\n\r\n")),
    taken("an empty chunked body", chunked(b"0\r\n\r\n")),
    taken("chunk sizes with zeros in front", chunked(b"0002\r\nhi\r\n000\r\n\r\n"), body=b"hi"),
    taken("a chunk extension", chunked(b'2;a=b;c="d"\r\nhi\r\n0;x\r\n\r\n'), body=b"hi"),
    taken("a chunk that holds CRLF", chunked(b"4\r\n\r\n\r\n\r\n0\r\n\r\n"), body=b"\r\n\r\n"),
    taken("as many chunks as bytes", chunked(b"1\r\nx\r\n" * 50 + b"0\r\n\r\n"), body=b"x" * 50),
    taken(
        "an unknown expectation is ignored", post(b"Expect: x", b"Content-Length: 2", body=b"hi"), body=b"hi"
    ),
    refused("two lengths that differ", post(b"Content-Length: 1", b"Content-Length: 2", body=b"xx")),
    refused("a list of lengths", post(b"Content-Length: 1, 1", body=b"x")),
    refused("a signed length", post(b"Content-Length: +1", body=b"x")),
    refused("a negative length", post(b"Content-Length: -1", body=b"x")),
    refused("a length in hexadecimal", post(b"Content-Length: 0x1", body=b"x")),
    refused("a length with an underscore", post(b"Content-Length: 1_0", body=b"x")),
    refused("a length of other digits", post("Content-Length: \u0661".encode(), body=b"x")),
    refused("an empty length", post(b"Content-Length:", body=b"x")),
    refused("a length of 20 digits", post(b"Content-Length: 10000000000000000000")),
    refused("a length of 64 bits and one", post(b"Content-Length: 18446744073709551617")),
    refused("a length with a fraction", post(b"Content-Length: 1.0", body=b"x")),
    refused(
        "Transfer-Encoding, then Content-Length", post(b"Transfer-Encoding: chunked", b"Content-Length: 3")
    ),
    refused("Content-Length and another coding", post(b"Content-Length: 3", b"Transfer-Encoding: x")),
    refused("Transfer-Encoding in HTTP/1.0", post(b"Transfer-Encoding: chunked", version=b"1.0")),
    refused(
        "a coding before chunked", post(b"Transfer-Encoding: gzip, chunked"), 501, "coding-not-implemented"
    ),
    refused("a coding behind chunked", post(b"Transfer-Encoding: chunked, x"), 501, "coding-not-implemented"),
    refused("chunked twice", post(b"Transfer-Encoding: chunked, chunked"), 501, "coding-not-implemented"),
    refused(
        "chunked on two lines", post(*[b"Transfer-Encoding: chunked"] * 2), 501, "coding-not-implemented"
    ),
    refused("identity", post(b"Transfer-Encoding: identity"), 501, "coding-not-implemented"),
    refused("chunked with a vertical tab", post(b"Transfer-Encoding: \x0bchunked")),
    refused("chunked misspelt", post(b"Transfer-Encoding: xchunked"), 501, "coding-not-implemented"),
    refused("an empty coding", post(b"Transfer-Encoding:")),
    refused("a chunked body far too large", chunked(b"FFFFFFFF\r\n"), 413, "body-too-large"),
    refused("chunks too large together", chunked(b"20\r\n%b\r\n20\r\n" % (b"x" * 32)), 413, "body-too-large"),
    refused("a chunk size of 16 digits", chunked(b"0000000000000001\r\nx\r\n0\r\n\r\n")),
    refused("a chunk size that is not one", chunked(b"x\r\n")),
    refused("an empty chunk size", chunked(b"\r\n0\r\n\r\n")),
    refused("a signed chunk size", chunked(b"+1\r\nx\r\n0\r\n\r\n")),
    refused("a chunk size with 0x", chunked(b"0x1\r\nx\r\n0\r\n\r\n")),
    refused("a chunk size with a space", chunked(b"1 \r\nx\r\n0\r\n\r\n")),
    refused("a chunk size with an underscore", chunked(b"1_0\r\n")),
    refused("a chunk size ended by LF", chunked(b"1\nx\r\n0\r\n\r\n")),
    refused("a chunk ended by LF", chunked(b"1\r\nx\n0\r\n\r\n")),
    refused("a chunk shorter than its size", chunked(b"3\r\nab\r\n0\r\n\r\n")),
    refused("a control character in a chunk extension", chunked(b"1;\x01\r\nx\r\n0\r\n\r\n")),
    refused("a bare CR in a chunk extension", chunked(b"1;a\rb\r\nx\r\n0\r\n\r\n")),
    refused("a long chunk extension", chunked(b"1;" + b"x" * 1100 + b"\r\n")),
    refused("a chunk size that does not end", chunked(b"1;" + b"x" * 1100)),
    refused("a trailer without a colon", chunked(b"0\r\nX\r\n\r\n")),
    refused("a folded trailer", chunked(b"0\r\nX: a\r\n b\r\n\r\n")),
    refused("a trailer ended by LF", chunked(b"0\r\nX: a\n\r\n")),
    refused("a NUL in a trailer", chunked(b"0\r\nX: a\x00\r\n\r\n")),
    refused("many trailers", chunked(b"0\r\n" + b"X: y\r\n" * 11), 431, "headers-too-large"),
    refused("large trailers", chunked(b"0\r\nX: " + b"x" * 1100), 431, "headers-too-large"),
    refused("a body announced far too large", post(b"Content-Length: 100000"), 413, "body-too-large"),
    skipped("a body a little too large", post(b"Content-Length: 51", body=b"x" * 51), 413, "body-too-large"),
]

KEEPING = [
    taken("Connection: close", get(b"/", b"Connection: close"), goes_on=False),
    taken("close in a list", get(b"/", b"Connection: x , Close"), goes_on=False),
    taken("close on a second line", get(b"/", b"Connection: x", b"connection: close"), goes_on=False),
    taken("Connection: keep-alive", get(b"/", b"Connection: Keep-Alive")),
    taken("an option that only contains close", get(b"/", b"Connection: closed")),
    taken("HTTP/1.0 with a Host", get(version=b"1.0"), goes_on=False),
    taken(
        "HTTP/1.0 with keep-alive and close",
        get(b"/", b"Connection: keep-alive, close", version=b"1.0"),
        goes_on=False,
    ),
    taken("Upgrade without its option", get(b"/", b"Upgrade: x")),
    taken(
        "HTTP/2 by upgrade", get(b"/", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"), goes_on=False
    ),
    taken(
        "an upgrade with a body",
        post(b"Connection: upgrade", b"Upgrade: x", b"Content-Length: 2", body=b"hi"),
        body=b"hi",
        goes_on=False,
    ),
    taken(
        "trailing junk after a request that closes", get(b"/", b"Connection: close") + b"junk", goes_on=False
    ),
]

ROWS = [*CORE, *TARGETS, *LINES, *HOSTS, *HEADERS, *BODIES, *KEEPING]
