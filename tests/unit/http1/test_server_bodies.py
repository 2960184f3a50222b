"""Any body, chunked in any way and cut in any way, is read back."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from bufferproxy.http1.bodies import ChunkedBody, SizedBody
from bufferproxy.http1.limits import Limits

CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=8)
CUTS = st.lists(st.integers(0, 400), max_size=12)
REST = st.binary(max_size=20)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    at = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(at)]


def read(body: ChunkedBody | SizedBody, wire: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """The body, and all that follows it."""
    rest: object = None
    following = b""
    for piece in pieces(wire, cuts):
        if rest is None:
            rest = body.feed(piece)
            following = rest if isinstance(rest, bytes) else b""
        else:
            following += piece
    assert isinstance(rest, bytes)
    return body.whole(), following


@given(chunks=CHUNKS, cuts=CUTS, rest=REST, upper=st.booleans(), trailer=st.booleans())
def test_chunks_are_put_together_and_nothing_behind_them_is_touched(
    chunks: list[bytes], cuts: list[int], rest: bytes, upper: bool, trailer: bool
) -> None:
    size = "%X" if upper else "%x"
    wire = b"".join((size % len(chunk)).encode() + b"\r\n" + chunk + b"\r\n" for chunk in chunks)
    wire += b"0\r\n" + (b"X-T: y\r\n" if trailer else b"") + b"\r\n" + rest

    assert read(ChunkedBody(400, Limits()), wire, cuts) == (b"".join(chunks), rest)


@given(body=st.binary(min_size=1, max_size=200), cuts=CUTS, rest=REST)
def test_a_body_of_known_length_ends_where_it_ends(body: bytes, cuts: list[int], rest: bytes) -> None:
    assert read(SizedBody(len(body)), body + rest, cuts) == (body, rest)


@given(data=st.binary(max_size=100), cuts=CUTS)
def test_no_bytes_whatever_make_a_chunked_body_larger_than_allowed(data: bytes, cuts: list[int]) -> None:
    body = ChunkedBody(10, Limits())
    for piece in pieces(data, cuts):
        if body.feed(piece) is not None:
            break

    assert len(body.whole()) <= 10
