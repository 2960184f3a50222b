"""The reader of replies, without sockets: what is kept, what is refused, wherever the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufferproxy.http1.limits import TURN_BYTES
from bufferproxy.http1.reader import Malformed, ReplyReader
from bufferproxy.http1.reply import Reply, ReplyLimits

OK = b"HTTP/1.1 200 OK\r\n"
SMALL = ReplyLimits(head=256, body=8, discard=32)


def read(*pieces: bytes, head_request: bool = False, limits: ReplyLimits | None = None, eof: bool = False):
    """The result and the reader."""
    reader = ReplyReader(limits or ReplyLimits())
    reader.begin(head_request=head_request)
    for piece in pieces:
        result = reader.feed(piece)
        if result is not None:
            return result, reader
    return (reader.finish() if eof else None), reader


# What came, the head that is kept, the body that is kept, and whether the connection may be used again.
REPLIES = {
    "a length": (OK + b"Content-Length: 2\r\n\r\nhi", OK + b"Content-Length: 2\r\n", b"hi", True),
    "no body": (OK + b"content-length: 0\r\n\r\n", OK + b"content-length: 0\r\n", b"", True),
    "a length with zeros before it": (
        OK + b"Content-Length: 0002\r\n\r\nhi",
        OK + b"Content-Length: 0002\r\n",
        b"hi",
        True,
    ),
    "names in their case, repeated, in order, with bytes above 0x7f": (
        OK + b"sEt-cOOkie: a\r\nX: \xff\xe9 caf\xc3\xa9\r\nSet-Cookie: b\r\nE:\r\nContent-Length: 0\r\n\r\n",
        OK + b"sEt-cOOkie: a\r\nX: \xff\xe9 caf\xc3\xa9\r\nSet-Cookie: b\r\nE: \r\nContent-Length: 0\r\n",
        b"",
        True,
    ),
    "a reason of its own": (
        b"HTTP/1.1 299 Caf\xe9 is fine\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 299 Caf\xe9 is fine\r\nContent-Length: 0\r\n",
        b"",
        True,
    ),
    "no reason at all": (
        b"HTTP/1.1 500\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 \r\nContent-Length: 0\r\n",
        b"",
        True,
    ),
    "chunks: the length takes the place of the coding": (
        OK + b"A: 1\r\nTransfer-Encoding: chunked\r\nB: 2\r\n\r\n2;x=1\r\nhi\r\n3\r\n\x00\xff\n\r\n0\r\n\r\n",
        OK + b"A: 1\r\nContent-Length: 5\r\nB: 2\r\n",
        b"hi\x00\xff\n",
        True,
    ),
    "trailers are dropped, with their announcement": (
        OK + b"Trailer: Host\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: evil\r\nRetry-After: 9\r\n\r\n",
        OK + b"Content-Length: 0\r\n",
        b"",
        True,
    ),
    "hop-by-hop headers, and those that Connection names": (
        OK
        + b"Connection: keep-alive, X-Hop, Content-Length, Content-Type\r\nKeep-Alive: timeout=9\r\n"
        + b"x-hop: 1\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nTE: x\r\n"
        + b"Content-Type: a/b\r\nContent-Length: 0\r\n\r\n",
        OK + b"Content-Type: a/b\r\nContent-Length: 0\r\n",
        b"",
        True,
    ),
    "named before Connection names it": (
        OK + b"X-Hop: 1\r\nConnection: x-hop\r\nContent-Length: 0\r\n\r\n",
        OK + b"Content-Length: 0\r\n",
        b"",
        True,
    ),
    "close": (
        OK + b"Connection: Close\r\nContent-Length: 0\r\n\r\n",
        OK + b"Content-Length: 0\r\n",
        b"",
        False,
    ),
    "HTTP/1.0": (
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        OK + b"Content-Length: 2\r\n",
        b"hi",
        False,
    ),
    "HTTP/1.0, kept alive": (
        b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n",
        OK + b"Content-Length: 0\r\n",
        b"",
        True,
    ),
    "HTTP/1.0 with chunks is not trusted again": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: 0\r\n",
        b"",
        False,
    ),
    "204 has no length": (
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nA: 1\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nA: 1\r\n",
        b"",
        True,
    ),
    "204 has no chunks": (
        b"HTTP/1.1 204 N\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 204 N\r\n",
        b"",
        True,
    ),
    "304 keeps the length of what is not sent": (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n",
        b"",
        True,
    ),
    "304 gets no length": (b"HTTP/1.1 304 N\r\nETag: x\r\n\r\n", b"HTTP/1.1 304 N\r\nETag: x\r\n", b"", True),
    "interim replies are skipped": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\nRetry-After: 9\r\n\r\n"
        b"HTTP/1.1 199 Odd\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\n!",
        OK + b"Content-Length: 1\r\n",
        b"!",
        True,
    ),
}


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_is_kept_byte_for_byte_wherever_it_is_cut(name: str) -> None:
    raw, head, body, reusable = REPLIES[name]
    cuts = [
        (raw,),
        *((raw[:at], raw[at:]) for at in range(1, len(raw))),
        tuple(raw[i : i + 1] for i in range(len(raw))),
    ]
    for pieces in cuts:
        result, reader = read(*pieces)
        assert isinstance(result, Reply)
        assert (result.head, result.body, reader.reusable) == (head, body, reusable)
        assert result.status == int(head.split()[1])
        assert result.retry_after is None


@pytest.mark.parametrize(
    ("raw", "head"),
    [
        (OK + b"Content-Length: 12\r\n\r\n", OK + b"Content-Length: 12\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", OK),
        (OK + b"A: b\r\n\r\n", OK + b"A: b\r\n"),
        (b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.1 204 No\r\n"),
    ],
)
def test_a_reply_to_head_ends_with_its_head_and_keeps_its_length(raw: bytes, head: bytes) -> None:
    for pieces in [(raw,), *((raw[:at], raw[at:]) for at in range(1, len(raw)))]:
        result, reader = read(*pieces, head_request=True)
        assert isinstance(result, Reply)
        assert (result.head, result.body, reader.reusable) == (head, b"", True)
        reader.begin(head_request=False)
        following = reader.feed(OK + b"Content-Length: 2\r\n\r\nhi")
        assert isinstance(following, Reply)
        assert following.body == b"hi"


@pytest.mark.parametrize("follows", [b"body", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"\x00"])
@pytest.mark.parametrize("head_request", [False, True])
def test_what_follows_a_reply_spoils_the_connection_but_not_the_reply(
    follows: bytes, head_request: bool
) -> None:
    length = 3 if head_request else 0
    result, reader = read(OK + b"Content-Length: %d\r\n\r\n" % length + follows, head_request=head_request)
    assert isinstance(result, Reply)
    assert result.body == b""
    assert not reader.reusable


def test_what_follows_a_reply_that_closes_does_not_spoil_it_either() -> None:
    result, reader = read(OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi" + OK)
    assert isinstance(result, Reply)
    assert result.body == b"hi"
    assert not reader.reusable


def test_without_a_length_the_end_of_the_stream_ends_the_body() -> None:
    raw = OK + b"A: b\r\n\r\nhello"
    for at in range(1, len(raw)):
        result, reader = read(raw[:at], raw[at:], eof=True)
        assert result == Reply(200, OK + b"A: b\r\nContent-Length: 5\r\n", b"hello")
        assert not reader.reusable


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        OK,
        OK + b"A: b\r\n",
        OK + b"Content-Length: 5\r\n\r\nhell",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
def test_the_end_of_the_stream_ends_nothing_else(raw: bytes) -> None:
    result, _ = read(*([raw] if raw else []), eof=True)
    assert result is None


GARBAGE = {
    "no HTTP": b"<html>",
    "bare LF after the status line": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "bare LF after a header": OK + b"A: b\n\r\n",
    "a folded header": OK + b"A: b\r\n c\r\n\r\n",
    "a space before the colon": OK + b"A : b\r\n\r\n",
    "NUL in a value": OK + b"A: \x00\r\n\r\n",
    "a control character in a value": OK + b"A: \x01\r\n\r\n",
    "a header without a name": OK + b": b\r\n\r\n",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    "a list of lengths": OK + b"Content-Length: 2, 2\r\n\r\nhi",
    "a signed length": OK + b"Content-Length: +2\r\n\r\nhi",
    "an empty length": OK + b"Content-Length:\r\n\r\nhi",
    "a length beyond all bounds": OK + b"Content-Length: 99999999999999999999\r\n\r\n",
    "a length with chunks": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks with a length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "another coding": OK + b"Transfer-Encoding: gzip\r\n\r\n",
    "two codings": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk size that is no number": OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
    "a bare LF after a chunk size": OK + b"Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
    "a chunk longer than its size": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "switching protocols without saying to which": b"HTTP/1.1 101 Switching\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n",
    "an interim reply with a body": b"HTTP/1.1 104 Odd\r\nContent-Length: 2\r\n\r\nhi" + OK + b"\r\n",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_no_reply_wherever_it_is_cut(name: str) -> None:
    raw = GARBAGE[name]
    for pieces in [(raw,), *((raw[:at], raw[at:]) for at in range(1, len(raw)))]:
        result, reader = read(*pieces)
        assert isinstance(result, Malformed)
        assert not reader.reusable


@pytest.mark.parametrize(
    "raw",
    [
        OK + b"X: " + b"x" * 300 + b"\r\n\r\n",
        OK + b"X: " + b"x" * 300,
        OK + b"X" * 300,
        OK + b"X: y\r\n" * 60 + b"\r\n",
        b"HTTP/1.1 200 " + b"O" * 300,
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"X: y\r\n" * 60 + b"\r\n",
    ],
)
def test_a_head_above_its_limit_is_an_answer_however_it_comes(raw: bytes) -> None:
    """The service has acted on the request: to find no answer in this would send it again."""
    for pieces in [(raw,), tuple(raw[i : i + 1] for i in range(len(raw)))]:
        result, reader = read(*pieces, limits=SMALL)
        assert isinstance(result, Reply)
        assert (result.status, result.body, result.too_large) == (200, b"", True)
        assert result.head.startswith(b"HTTP/1.1 200 O")
        assert b"X" not in result.head
        assert not reader.reusable


def test_the_status_of_a_head_above_its_limit_still_decides() -> None:
    result, _ = read(b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nX: " + b"x" * 300, limits=SMALL)
    assert isinstance(result, Reply)
    assert (result.status, result.retry_after, result.too_large) == (503, b"7", True)


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nX: " + b"x" * 200 + b"\r\n\r\n"]
)
def test_interim_replies_have_no_limit_but_the_deadline(interim: bytes) -> None:
    raw = interim * 60 + OK + b"Content-Length: 2\r\n\r\nhi"
    for pieces in [(raw,), tuple(raw[i : i + 1] for i in range(len(raw)))]:
        result, reader = read(*pieces, limits=SMALL)
        assert result == Reply(200, OK + b"Content-Length: 2\r\n", b"hi")
        assert reader.reusable


def test_an_interim_head_without_an_end_is_no_reply() -> None:
    reader = ReplyReader(ReplyLimits(head=256, body=8, discard=1024))
    results = [reader.feed(piece) for piece in [b"HTTP/1.1 103 Hints\r\nX: ", *[b"x" * 100] * 11]]
    assert results[:-1] == [None] * 11
    assert isinstance(results[-1], Malformed)


@pytest.mark.parametrize(
    "padding",
    [b"0\r\nX: " + b"x" * 600, b"1;" + b"x" * 600 + b"\r\nh\r\n", b"1;" + b"x" * 600],
)
def test_what_comes_beside_a_body_in_chunks_has_the_limit_of_a_head(padding: bytes) -> None:
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    result, reader = read(head, b"2\r\nhi\r\n" + padding, limits=SMALL)
    assert result == Reply(200, OK + b"Content-Length: 0\r\n", b"", too_large=True)
    assert not reader.reusable


def test_a_body_is_whole_when_its_trailers_are_too_many() -> None:
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    result, reader = read(head, b"2\r\nhi\r\n0\r\n" + b"X: y\r\n" * 100, limits=SMALL)
    assert result == Reply(200, OK + b"Content-Length: 2\r\n", b"hi")
    assert not reader.reusable


class Counting(ReplyReader):
    """Counts the pieces of body that it is called with."""

    calls = 0

    def on_body(self, data: bytes) -> None:
        self.calls += 1
        super().on_body(data)


def test_a_turn_reads_no_more_chunks_of_a_reply_than_it_may() -> None:
    reader = Counting(ReplyLimits())
    chunks, last = b"1\r\nx\r\n" * 60_000, b"0\r\n\r\n"
    turns = [reader.calls]
    result = reader.feed(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + last)
    while result is None:
        turns.append(reader.calls)
        result = reader.go_on()
    assert isinstance(result, Reply)
    assert (result.body, result.too_large, reader.reusable) == (b"x" * 60_000, False, True)
    assert max(after - before for before, after in pairwise(turns)) <= TURN_BYTES // 6 + 1


def test_a_reply_in_chunks_that_are_too_small_is_an_answer_without_its_body() -> None:
    reader = Counting(ReplyLimits())
    result = reader.feed(OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 200_000)
    while result is None:
        result = reader.go_on()
    assert result == Reply(200, OK + b"Content-Length: 0\r\n", b"", too_large=True)
    assert reader.calls < 70_000


def test_a_body_with_a_length_is_read_in_one_turn() -> None:
    body = b"x" * 1_000_000
    result, reader = read(OK + b"Content-Length: 1000000\r\n\r\n" + body)
    assert isinstance(result, Reply)
    assert (result.body == body, reader.reusable) == (True, True)


@pytest.mark.parametrize("size", [8, 9, 32])
def test_a_body_above_its_limit_is_read_and_thrown_away(size: int) -> None:
    result, reader = read(OK + b"Content-Length: %d\r\nA: b\r\n\r\n" % size, b"x" * size, limits=SMALL)
    kept = size if size <= 8 else 0
    assert result == Reply(
        200, OK + b"Content-Length: %d\r\nA: b\r\n" % kept, b"x" * kept, too_large=size > 8
    )
    assert reader.reusable


def test_an_endless_body_is_an_answer_but_spoils_the_connection() -> None:
    result, reader = read(OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\n", b"x" * 33, limits=SMALL)
    assert result == Reply(200, OK + b"Content-Length: 0\r\n", b"", too_large=True)
    assert not reader.reusable


def test_what_the_service_tells_the_proxy_is_looked_up_and_passed_on() -> None:
    lines = (
        b"retry-after: 7\r\nBufferproxy-Outcome: retry; delay=3s\r\nRetry-After: 9\r\nContent-Length: 0\r\n"
    )
    result, _ = read(b"HTTP/1.1 503 Busy\r\n" + lines + b"\r\n")
    assert isinstance(result, Reply)
    assert (result.retry_after, result.outcome) == (b"7", b"retry; delay=3s")
    assert result.head == b"HTTP/1.1 503 Busy\r\n" + lines


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"timeout=5", 5.0),
        (b"max=10, Timeout=12", 12.0),
        (b"max=10", None),
        (b"timeout=x", None),
        (b"", None),
    ],
)
def test_how_long_the_service_keeps_a_connection_is_read(value: bytes, seconds: float | None) -> None:
    _, reader = read(OK + b"Keep-Alive: " + value + b"\r\nContent-Length: 0\r\n\r\n")
    assert reader.keep_alive == seconds


def test_nothing_of_one_reply_is_left_in_the_next() -> None:
    reader = ReplyReader(ReplyLimits())
    for head_request in (False, True, False, False):
        reader.begin(head_request=head_request)
        first = b"Keep-Alive: timeout=3\r\nRetry-After: 1\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
        assert isinstance(reader.feed(OK + first + b"Content-Length: 0\r\n\r\n"), Reply)
        reader.begin(head_request=False)
        second = OK + b"X-Hop: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
        assert reader.feed(second) == Reply(200, OK + b"X-Hop: 1\r\nContent-Length: 1\r\n", b"x")
        assert reader.keep_alive is None


TOKEN = st.text("!#$%&'*+-.^_`|~abcXYZ019", min_size=1, max_size=12).map(lambda text: b"X-" + text.encode())
VALUE = st.binary(max_size=20).map(lambda raw: bytes(b for b in raw if b >= 0x20 and b != 0x7F).strip())


@given(
    st.lists(st.tuples(TOKEN, VALUE), max_size=8),
    st.binary(max_size=200),
    st.sampled_from(["length", "chunked", "close"]),
    st.lists(st.integers(1, 400), max_size=6),
)
def test_any_reply_comes_out_as_it_went_in(
    headers: list[tuple[bytes, bytes]], body: bytes, framing: str, cuts: list[int]
) -> None:
    lines = b"".join(b"%b: %b\r\n" % pair for pair in headers)
    length = b"Content-Length: %d\r\n" % len(body)
    match framing:
        case "length":
            raw = OK + lines + length + b"\r\n" + body
        case "chunked":
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            raw = OK + lines + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"
        case _:
            raw = OK + lines + b"\r\n" + body
    at = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    pieces = [raw[start:end] for start, end in pairwise(at)]
    result, _ = read(*pieces, eof=framing == "close")
    assert result == Reply(200, OK + lines + length, body)


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=5))
def test_no_bytes_make_the_reader_raise(pieces: list[bytes]) -> None:
    read(OK, *pieces, eof=True)
    read(*pieces, eof=True, head_request=True)


KNOWN = OK + b"Content-Length: 2\r\nRetry-After: 3\r\nKeep-Alive: timeout=7\r\n\r\n"


def after_a_known_head() -> None:
    """What it came to is remembered."""
    result, _ = read(KNOWN + b"hi")
    assert isinstance(result, Reply)


def test_a_reply_behind_a_known_head_is_the_same_as_the_first() -> None:
    first, one = read(KNOWN + b"hi")
    second, other = read(KNOWN + b"ho")
    assert second == first._replace(body=b"ho")
    assert (other.reusable, other.keep_alive) == (one.reusable, one.keep_alive) == (True, 7.0)


@pytest.mark.parametrize("rest", [b"h", b""])
def test_less_than_a_known_head_announces_waits_for_the_rest(rest: bytes) -> None:
    after_a_known_head()
    assert read(KNOWN + rest)[0] is None
    result, reader = read(KNOWN + rest, b"hi"[len(rest) :])
    assert isinstance(result, Reply)
    assert (result.body, reader.reusable) == (b"hi", True)


def test_more_than_a_known_head_announces_spoils_the_connection() -> None:
    after_a_known_head()
    result, reader = read(KNOWN + b"hi!")
    assert isinstance(result, Reply)
    assert (result.body, reader.reusable) == (b"hi", False)


def test_a_known_head_has_no_body_in_the_answer_to_a_head() -> None:
    after_a_known_head()
    result, _ = read(KNOWN, head_request=True)
    assert isinstance(result, Reply)
    assert result.body == b""


def test_a_known_head_is_held_to_the_limits_of_who_reads_it() -> None:
    long = OK + b"X: " + b"y" * 300 + b"\r\nContent-Length: 9\r\n\r\n"
    assert isinstance(read(long + b"123456789")[0], Reply)
    small, _ = read(long + b"123456789", limits=SMALL)
    assert isinstance(small, Reply)
    assert (small.too_large, small.head) == (True, OK + b"Content-Length: 0\r\n")
    wide, _ = read(long + b"123456789", limits=SMALL._replace(head=1024))
    assert isinstance(wide, Reply)
    assert wide.too_large


def test_one_connection_reads_known_and_new_heads_in_any_order() -> None:
    reader = ReplyReader(ReplyLimits())
    chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    for data, body in ((KNOWN + b"hi", b"hi"), (chunked, b"x"), (KNOWN + b"ho", b"ho"), (chunked, b"x")):
        reader.begin(head_request=False)
        result = reader.feed(data)
        assert isinstance(result, Reply)
        assert (result.body, reader.reusable) == (body, True)
