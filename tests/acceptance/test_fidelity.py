"""P7: requests reach the service byte for byte, and replies come back so, to who waits or looks later."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bufferproxy.http1.framing import METHODS
from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.raw_service import Peer, RawService, Received, head, replying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bufferproxy.testing.load import Told
    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance

ASYNC = b"Prefer: respond-async\r\n"
ADDED = [
    b"Via", b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host",
    b"Bufferproxy-Id", b"Bufferproxy-Attempt", b"Bufferproxy-Accepted-At", b"Idempotency-Key",
]  # fmt: skip
"""What a service may receive beside what was sent, and `traceparent`."""

TARGETS = [
    b"/", b"//", b"/a/../b", b"/a/./b/..", b"/%2e%2e/x", b"/a/%2E%2e/%2e/b", b"//host/x", b"/a//b///c",
    b"/{}", b"/{a}|^`", b"/?", b"/x?", b"/x??a=&&b", b"/x?a=/../&a=%", b"/%", b"/%zz", b"/%f", b"/%ff%fe%00",
    b"/a%2Fb%5c", b"/%C3%A9", b"/a;b=c,d", b"/a+b%20c", b"/\"<>'!$&()*~", b"/x?%zz=%ff", b"/:80/@", b"/\\x",
]  # fmt: skip

HEADERS = (
    b"X-Twice: 1\r\nx-lower: a\r\nX-TWICE: 2\r\nX-Twice: 1\r\nX-Utf-8: caf\xc3\xa9\r\nX-Latin: caf\xe9\r\n"
    b"X-Obs: \x80\xff\r\nX-Empty:\r\nX-Inner: a  b\tc\r\nAuthorization: Bearer a.b.c\r\nCookie: a=1; b=2\r\n"
    b"Content-Type: application/x-what; q=\"\\\"\"\r\nAccept: */*\r\nUser-Agent: Me/1\r\nx_under: score\r\n"
)  # fmt: skip

EVERY_BYTE = bytes(range(256)) * 40


@pytest.fixture
async def service() -> AsyncIterator[RawService]:
    async with RawService(answering) as service:
        yield service


async def _up(world: World, service: RawService) -> Load:
    await asyncio.to_thread(world.start, to=service.url)
    return Load(world.proxy.url)


def _request(method: bytes, target: bytes, lines: bytes = b"", body: bytes = b"") -> Sent:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    raw = b"%b %b HTTP/1.1\r\nHost: shop.example:8443\r\n%b%b%b\r\n" % (method, target, lines, length, ASYNC)
    return Sent(target, body, method=method, raw=raw)


async def _received(load: Load, service: RawService, sent: Sent) -> Received:
    """What the service got of a request."""
    before = len(service.requests)
    told = await load.one(sent)
    assert told.accepted, told
    found = (await service.arrived(before + 1))[before]
    assert found.values(b"bufferproxy-id") == [told.id.encode()]
    return found


def _own(received: Received) -> bytes:
    """The head without what bufferproxy adds, which is checked: at the end, each once."""
    lines = received.head.split(b"\r\n")
    own = [line for line in lines if line.partition(b":")[0] not in (*ADDED, b"traceparent")]
    added = [name for line in lines if (name := line.partition(b":")[0]) in ADDED]
    assert added == ADDED
    assert lines[: len(own) - 2] == own[:-2], "added before the end of what was sent"
    return b"\r\n".join(own)


async def test_every_request_line_arrives_as_it_was_sent(world: World, service: RawService) -> None:
    async with await _up(world, service) as load:
        for sent in (
            *(_request(method, b"/m") for method in sorted(METHODS)),
            *(_request(b"POST", target) for target in TARGETS),
            _request(b"OPTIONS", b"*"),
            _request(b"M-SEARCH", b"*"),
        ):
            received = await _received(load, service, sent)
            assert received.line == b"%b %b HTTP/1.1" % (sent.method, sent.target)
            assert _own(received) == sent.raw.replace(ASYNC, b"")
            assert received.body == b""


async def test_headers_arrive_in_their_order_their_case_and_byte_for_byte(
    world: World, service: RawService
) -> None:
    async with await _up(world, service) as load:
        received = await _received(load, service, _request(b"PUT", b"/h", HEADERS, b"abc"))
        expected = _request(b"PUT", b"/h", HEADERS, b"abc").raw.replace(ASYNC, b"")
        assert _own(received) == expected.replace(b"X-Empty:\r\n", b"X-Empty: \r\n")
        assert received.body == b"abc"


async def test_bodies_arrive_byte_for_byte_chunked_or_not(world: World, service: RawService) -> None:
    async with await _up(world, service) as load:
        for body in (b"\0", EVERY_BYTE, b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", EVERY_BYTE * 90):
            received = await _received(load, service, _request(b"POST", b"/b", body=body))
            assert received.body == body

        empty = Sent(b"/e", raw=b"POST /e HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n" + ASYNC + b"\r\n")
        received = await _received(load, service, empty)
        assert (received.values(b"content-length"), received.body) == ([b"0"], b"")

        pieces = [EVERY_BYTE[n : n + 777] for n in range(0, len(EVERY_BYTE), 777)]
        chunks = b"".join(b"%X;ext=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        raw = (
            b"POST /c HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\nX-B: 2\r\n"
            + ASYNC
            + b"\r\n"
        )
        chunked = Sent(b"/c", chunks + b"0\r\nX-Trailer: dropped\r\n\r\n", raw=raw)
        received = await _received(load, service, chunked)
        assert received.body == EVERY_BYTE
        assert received.values(b"content-length") == [b"%d" % len(EVERY_BYTE)]
        assert received.values(b"transfer-encoding") == received.values(b"x-trailer") == []


def _chunked(body: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:9], body[9:])) + b"0\r\n\r\n"


FIELDS = (
    b"Set-Cookie: a=1; Path=/", b"X-First: 1", b"Set-Cookie: b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
    b"x-lower: caf\xc3\xa9", b"X-Latin: \xe9\xff", b"X-First: 2", b"Content-Type: application/x-bytes",
)  # fmt: skip
LENGTH = b"Content-Length: %d" % len(EVERY_BYTE)

REPLIES = {
    b"/plain": head(200, *FIELDS, LENGTH, reason=b"Quite All Right") + EVERY_BYTE,
    b"/chunked": head(201, *FIELDS, b"Transfer-Encoding: chunked", reason=b"Made") + _chunked(EVERY_BYTE),
    b"/no-reason": head(299, *FIELDS, LENGTH, reason=b"") + EVERY_BYTE,
    b"/empty": head(200, *FIELDS, b"Content-Length: 0"),
    b"/nothing": head(204, *FIELDS, reason=b"No Content"),
    b"/unchanged": head(304, *FIELDS, b'ETag: "x"', reason=b"Not Modified"),
    b"/elsewhere": head(307, b"Location: /a/../b%zz", *FIELDS, b"Content-Length: 2", reason=b"There") + b"no",
    b"/rejected": head(404, *FIELDS, LENGTH, reason=b"Nope") + EVERY_BYTE,
    b"/head": head(200, *FIELDS, LENGTH, reason=b"Only A Head"),
}


async def answering(peer: Peer, received: Received) -> None:
    await replying(REPLIES.get(received.line.split(b" ")[1], REPLIES[b"/empty"]))(peer, received)


def _given(told: Told) -> list[bytes]:
    """Status and header lines as the service gave them: without what bufferproxy adds."""
    own = (b"bufferproxy-id", b"preference-applied")
    lines = told.head.rstrip(b"\r\n").split(b"\r\n")
    return [line for line in lines if line.partition(b":")[0].lower() not in own]


async def test_replies_come_back_as_they_were_to_who_waits_and_to_who_looks_later(
    world: World, service: RawService
) -> None:
    async with await _up(world, service) as load:
        for target, reply in REPLIES.items():
            method = b"HEAD" if target == b"/head" else b"POST"
            told = await load.one(Sent(target, headers=((b"Prefer", b"wait=20"),), method=method))
            lines = reply.partition(b"\r\n\r\n")[0].split(b"\r\n")
            body = b"" if method == b"HEAD" else reply.partition(b"\r\n\r\n")[2]
            if target == b"/chunked":
                lines[-1], body = LENGTH, EVERY_BYTE  # what frames it may change, on either way
            assert _given(told) == lines
            assert told.body == body
            assert told.header(b"preference-applied") == b"wait=20"

            later = await load.one(
                Sent(b"/_bufferproxy/requests/%b/response" % told.id.encode(), method=method)
            )
            if method == b"POST":
                assert later.status == 405
                later = await load.one(Sent(later.sent.target, method=b"GET"))
            assert _given(later) == lines
            assert later.body == body
            status = (await load.one(Sent(b"/_bufferproxy/requests/" + told.id.encode(), method=b"GET"))).json
            assert status["state"] == ("rejected" if target == b"/rejected" else "delivered")
            assert status["response"]["status"] == told.status
            assert status["attempts"] == 1


async def test_the_reply_to_a_head_can_be_looked_up_with_a_get(world: World, service: RawService) -> None:
    """Whose Content-Length tells of a body that nobody has: the connection must survive it."""
    async with await _up(world, service) as load:
        told = await load.one(Sent(b"/head", headers=((b"Prefer", b"wait=20"),), method=b"HEAD"))
        later = await load.one(Sent(b"/_bufferproxy/requests/%b/response" % told.id.encode(), method=b"GET"))
        assert (later.status, later.body, later.header(b"x-first")) == (200, b"", b"1")
