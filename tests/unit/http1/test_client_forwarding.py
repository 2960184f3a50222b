"""The head that is stored: what is kept byte for byte, what is dropped, what is added."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufferproxy.http1 import forwarding
from bufferproxy.http1.forwarding import end_to_end, loops, pseudonym

ME = b"bufferproxy-00ff"
OWN = b"Via: 1.1 bufferproxy-00ff\r\nX-Forwarded-For: 10.1.2.3\r\nX-Forwarded-Proto: http\r\n"
HOST = (b"Host", b"a")
OWN_HOST = b"X-Forwarded-Host: a\r\n"


def forwarded(
    *headers: tuple[bytes, bytes],
    method: bytes = b"GET",
    target: bytes = b"/",
    body_length: int = 0,
    client: str = "10.1.2.3",
    scheme: str = "http",
    version: bytes = b"1.1",
    trusted: bool = False,
    prefix: bytes = b"",
) -> bytes:
    return end_to_end(
        method,
        target,
        headers,
        body_length=body_length,
        client=client,
        scheme=scheme,
        via=ME,
        version=version,
        trusted=trusted,
        prefix=prefix,
    )


def kept(*headers: tuple[bytes, bytes], body_length: int = 0) -> bytes:
    """The header lines without the request line, the Host and what is added at the end."""
    head = forwarded(HOST, *headers, body_length=body_length)
    begin, end = b"GET / HTTP/1.1\r\nHost: a\r\n", OWN + OWN_HOST
    assert head.startswith(begin)
    assert head.endswith(end)
    return head[len(begin) : -len(end)]


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/?",
        b"/a?",
        b"//a//b/",
        b"/a/../b/./c",
        b"/%2e%2e/%2E/%zz%",
        b'/{x}|"<>`^\\',
        b"*",
        b"/a;p=1?q=1&q=2&&=",
        b"/%C3%A9",
    ],
)
def test_the_request_line_is_as_it_came(target: bytes) -> None:
    assert forwarded(HOST, target=target, method=b"M-SEARCH").startswith(
        b"M-SEARCH " + target + b" HTTP/1.1\r\n"
    )


def test_headers_keep_their_case_their_bytes_their_order_and_their_repetition() -> None:
    headers = (
        (b"x-a", b"1"),
        (b"X-A", b"\xff caf\xc3\xa9 \t"),
        (b"COOKIE", b"a=b"),
        (b"cookie", b"c=d"),
        (b"x-a", b"1"),
        (b"Empty", b""),
        (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        (b"Idempotency-Key", b'"k"'),
        (b"Authorization", b"Bearer x"),
        (b"Date", b"now"),
        (b"Te-x", b"1"),
        (b"Preference", b"1"),
    )
    assert kept(*headers) == b"".join(b"%b: %b\r\n" % pair for pair in headers)


@pytest.mark.parametrize(
    "name",
    [
        b"Connection",
        b"keep-alive",
        b"PROXY-Connection",
        b"Proxy-Authorization",
        b"Proxy-Authenticate",
        b"TE",
        b"Trailer",
        b"Upgrade",
        b"Expect",
        b"HTTP2-Settings",
        b"Prefer",
        b"Bufferproxy-Key",
        b"bufferproxy-priority",
        b"BUFFERPROXY-",
        b"Bufferproxy-Id",
        b"Bufferproxy-Anything-New",
    ],
)
def test_what_is_for_this_hop_is_dropped_in_any_case(name: bytes) -> None:
    for variant in (name, name.lower(), name.upper(), name.title()):
        assert kept((b"A", b"1"), (variant, b"100-continue"), (b"B", b"2")) == b"A: 1\r\nB: 2\r\n"


@pytest.mark.parametrize(
    ("connection", "dropped"),
    [
        ((b"close",), set()),
        ((b"keep-alive",), set()),
        ((b"Keep-Alive, X-Hop",), {b"x-hop"}),
        ((b"x-hop,x-other",), {b"x-hop", b"x-other"}),
        ((b" X-HOP ;", b"\tx-other\t,,"), {b"x-other"}),
        ((b"close", b"x-hop", b"x-other"), {b"x-hop", b"x-other"}),
        ((b"host, content-length, Content-Type, content-encoding, authorization, idempotency-key",), set()),
        ((b"cookie",), {b"cookie"}),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_connection_takes_away_what_it_names_as_far_as_it_may(
    connection: tuple[bytes, ...], dropped: set[bytes], before: bool
) -> None:
    headers = [
        (b"X-Hop", b"1"),
        (b"x-Other", b"2"),
        (b"Cookie", b"c"),
        (b"Content-Type", b"t/t"),
        (b"Content-Encoding", b"br"),
        (b"Authorization", b"z"),
        (b"Idempotency-Key", b"k"),
        (b"Content-Length", b"3"),
        (b"X-HOP", b"4"),
    ]
    lines = [(b"Connection", value) for value in connection]
    expected = b"".join(b"%b: %b\r\n" % pair for pair in headers if pair[0].lower() not in dropped)
    assert kept(*(lines + headers if before else headers + lines), body_length=3) == expected


def test_connection_cannot_take_away_what_this_proxy_adds() -> None:
    named = b"via, x-forwarded-for, x-forwarded-proto, x-forwarded-host"
    head = forwarded(HOST, (b"Via", b"1.1 evil"), (b"X-Forwarded-For", b"6.6.6.6"), (b"Connection", named))
    assert head == b"GET / HTTP/1.1\r\nHost: a\r\n" + OWN + OWN_HOST


def test_the_length_stands_where_it_stood() -> None:
    assert kept((b"A", b"1"), (b"content-length", b"5"), (b"B", b"2"), body_length=5) == (
        b"A: 1\r\ncontent-length: 5\r\nB: 2\r\n"
    )


def test_the_length_takes_the_place_of_chunked() -> None:
    assert kept((b"A", b"1"), (b"transfer-encoding", b"chunked"), (b"B", b"2"), body_length=0) == (
        b"A: 1\r\nContent-Length: 0\r\nB: 2\r\n"
    )


def test_the_length_is_what_was_counted_not_what_was_written() -> None:
    assert kept((b"Content-Length", b"0005"), body_length=5) == b"Content-Length: 5\r\n"


def test_no_length_is_added_to_a_request_without_a_body() -> None:
    assert kept() == b""


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ([(b"via", b"1.0 front")], b"via: 1.0 front, 1.1 bufferproxy-00ff\r\n"),
        (
            [(b"Via", b"1.0 a"), (b"X", b"y"), (b"VIA", b"1.1 b ")],
            b"Via: 1.0 a\r\nX: y\r\nVIA: 1.1 b, 1.1 bufferproxy-00ff\r\n",
        ),
        ([(b"Via", b"")], b"Via: 1.1 bufferproxy-00ff\r\n"),
    ],
)
def test_via_is_extended_where_it_stands(own: list[tuple[bytes, bytes]], expected: bytes) -> None:
    head = forwarded(HOST, *own)
    rest = OWN.partition(b"\r\n")[2] + OWN_HOST
    assert head == b"GET / HTTP/1.1\r\nHost: a\r\n" + expected + rest


def test_what_a_trusted_proxy_says_stays_where_it_stands() -> None:
    head = forwarded(
        (b"x-forwarded-for", b"1.1.1.1, 2.2.2.2"),
        HOST,
        (b"X-FORWARDED-HOST", b"shop"),
        (b"X-Forwarded-Proto", b"https"),
        client="fe80::1",
        trusted=True,
    )
    assert head == (
        b"GET / HTTP/1.1\r\n"
        b"x-forwarded-for: 1.1.1.1, 2.2.2.2, fe80::1\r\n"
        b"Host: a\r\n"
        b"X-FORWARDED-HOST: shop\r\n"
        b"X-Forwarded-Proto: https\r\n"
        b"Via: 1.1 bufferproxy-00ff\r\n"
    )


def test_what_anybody_else_says_is_replaced_but_for_the_addresses() -> None:
    head = forwarded(
        (b"x-forwarded-for", b"1.1.1.1"),
        HOST,
        (b"X-FORWARDED-HOST", b"evil"),
        (b"X-Forwarded-Proto", b"https"),
        (b"X-Forwarded-Proto", b"https"),
        (b"x-forwarded-prefix", b"/evil"),
        (b"X-Forwarded-Port", b"443"),
    )
    assert head == (
        b"GET / HTTP/1.1\r\n"
        b"x-forwarded-for: 1.1.1.1, 10.1.2.3\r\n"
        b"Host: a\r\n"
        b"X-Forwarded-Port: 443\r\n"
        b"Via: 1.1 bufferproxy-00ff\r\n"
        b"X-Forwarded-Proto: http\r\n"
        b"X-Forwarded-Host: a\r\n"
    )


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize(
    "said",
    [[b"https", b"wss"], [b"https, wss"], [b"https,", b"wss"], [b"wss", b""], [b"https ,\twss"], [b""], []],
)
def test_there_is_one_proto_and_one_host_and_never_a_list(said: list[bytes], *, trusted: bool) -> None:
    """Of several, a trusted proxy's own is the last."""
    headers = [(name, value) for value in said for name in (b"X-Forwarded-Proto", b"x-forwarded-host")]
    lines = forwarded(HOST, *headers, trusted=trusted).split(b"\r\n")
    own = b"wss" if trusted and any(said) else None
    assert [line.partition(b": ")[2] for line in lines if line.lower().startswith(b"x-forwarded-p")] == [
        own or b"http"
    ]
    assert [line.partition(b": ")[2] for line in lines if line.lower().startswith(b"x-forwarded-h")] == [
        own or b"a"
    ]


@pytest.mark.parametrize(
    ("said", "trusted", "prefix", "told"),
    [
        (None, False, b"", None),
        (None, False, b"/auth", b"/auth"),
        (b"/edge", False, b"", None),
        (b"/edge", False, b"/auth", b"/auth"),
        (b"/edge", True, b"", b"/edge"),
        (b"/edge", True, b"/auth", b"/edge/auth"),
        (b"/edge/", True, b"/auth", b"/edge/auth"),
        (b"/a, /edge", True, b"/auth", b"/edge/auth"),
        (b"", True, b"/auth", b"/auth"),
    ],
)
def test_the_prefix_is_all_that_was_taken_off_by_who_is_trusted(
    said: bytes | None, prefix: bytes, told: bytes | None, *, trusted: bool
) -> None:
    headers = [] if said is None else [(b"X-Forwarded-Prefix", said)]
    head = forwarded(HOST, *headers, trusted=trusted, prefix=prefix)
    lines = [line for line in head.split(b"\r\n") if line.startswith(b"X-Forwarded-Prefix")]
    assert lines == ([] if told is None else [b"X-Forwarded-Prefix: " + told])


def test_what_connection_names_is_not_believed_either() -> None:
    head = forwarded(
        HOST,
        (b"X-Forwarded-Proto", b"https"),
        (b"Connection", b"X-Forwarded-Proto"),
        trusted=True,
        prefix=b"/p",
    )
    assert head == b"GET / HTTP/1.1\r\nHost: a\r\n" + OWN + OWN_HOST + b"X-Forwarded-Prefix: /p\r\n"


def test_what_is_not_known_is_not_told() -> None:
    head = forwarded(client="", version=b"1.0")
    assert head == b"GET / HTTP/1.1\r\nVia: 1.0 bufferproxy-00ff\r\nX-Forwarded-Proto: http\r\n"


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], False),
        ([(b"Via", b"1.1 bufferproxy-00ff")], True),
        ([(b"VIA", b"1.0 front, 1.1 bufferproxy-00ff (comment)")], True),
        ([(b"via", b"1.1 a"), (b"via", b"HTTP/1.1  bufferproxy-00ff,1.1 b")], True),
        ([(b"Via", b"1.1 bufferproxy-00fe")], False),
        ([(b"Via", b"1.1 bufferproxy-00ffaa, 1.1 x-bufferproxy-00ff")], False),
        ([(b"Via", b"1.1 front (bufferproxy-00ff)")], False),
        ([(b"X-Via", b"1.1 bufferproxy-00ff")], False),
        ([(b"Via", b"bufferproxy-00ff")], False),
    ],
)
def test_a_loop_is_this_proxy_in_via_and_nothing_else(
    headers: list[tuple[bytes, bytes]], found: bool
) -> None:
    assert loops(headers, ME) is found


def test_two_bufferproxies_in_a_row_are_no_loop_and_coming_back_to_the_first_is() -> None:
    first, second = pseudonym(b"\x01\x02"), pseudonym(b"\x03\x04")
    assert first == b"bufferproxy-0102"
    headers: list[tuple[bytes, bytes]] = [HOST]
    for via in (first, second):
        assert not loops(headers, via)
        head = end_to_end(b"GET", b"/", headers, body_length=0, client="1.1.1.1", scheme="http", via=via)
        headers = [(n, v.strip()) for n, _, v in (line.partition(b":") for line in head.split(b"\r\n")[1:-1])]
    assert loops(headers, first)
    assert loops(headers, second)


def test_names_that_callers_make_up_do_not_fill_the_memory() -> None:
    for number in range(3000):
        kept((b"X-%d" % number, b"1"))
    kept((b"X" * 1000, b"1"))
    assert len(forwarding._SEEN) <= 1024
    assert max(map(len, forwarding._SEEN)) <= 64
    assert kept((b"Bufferproxy-Never-Seen-%d" % id(kept), b"1"), (b"A", b"b")) == b"A: b\r\n"


NAME = st.text("!#$%&'*+-.^_`|~abcXYZ019", min_size=1, max_size=20).map(str.encode)
VALUE = st.binary(max_size=30).map(lambda raw: bytes(b for b in raw if b >= 0x20 and b != 0x7F).strip())


@given(st.lists(st.tuples(NAME, VALUE), max_size=12), st.integers(0, 1 << 40))
def test_end_to_end_headers_survive_whatever_they_are(
    headers: list[tuple[bytes, bytes]], length: int
) -> None:
    assert kept(*headers, (b"Content-Length", b"%d" % length), body_length=length) == (
        b"".join(b"%b: %b\r\n" % pair for pair in headers) + b"Content-Length: %d\r\n" % length
    )


HOP = st.sampled_from(
    [b"Connection", b"TE", b"Upgrade", b"Prefer", b"Bufferproxy-X", b"Expect", b"Keep-Alive"]
)


@given(st.lists(st.tuples(NAME | HOP, VALUE), max_size=12))
def test_a_second_proxy_finds_nothing_more_to_drop(headers: list[tuple[bytes, bytes]]) -> None:
    head = forwarded(HOST, *headers)
    lines = [line.partition(b": ") for line in head.split(b"\r\n")[1:-1]]
    again = forwarded(*((name, value) for name, _, value in lines))
    assert [line.split(b":")[0] for line in again.split(b"\r\n")] == [
        line.split(b":")[0] for line in head.split(b"\r\n")
    ]
