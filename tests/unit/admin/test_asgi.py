"""An ASGI application behind our own wire: what it is told, and what becomes of what it says."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from bufferproxy.admin.asgi import BODY_BYTES
from bufferproxy.admin.server import AdminServer
from bufferproxy.http1.endpoint import Room
from bufferproxy.http1.limits import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp, Receive, Scope, Send

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
CLOSE = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def served(app: ASGIApp, **settings: Any) -> AsyncIterator[AdminServer]:
    server = AdminServer(app, "127.0.0.1", 0, **settings)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def ask(server: AdminServer, data: bytes) -> bytes:
    """All that comes until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data)
    answer = await reader.read()
    writer.close()
    return answer


def saying(status: int, *bodies: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers or []})
        for number, body in enumerate(bodies, 1):
            await send({"type": "http.response.body", "body": body, "more_body": number < len(bodies)})

    return app


async def test_the_application_is_told_what_was_asked() -> None:
    told: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        told.extend((scope, await receive()))
        await saying(204)(scope, receive, send)
        await send({"type": "http.response.body"})

    async with served(app) as server:
        lines = b"Host: localhost\r\nX-Twice: 1\r\nx-twice: 2\r\nContent-Length: 2\r\nConnection: close\r\n"
        answer = await ask(server, b"PATCH /a%20b/%C3%A9?q=%20&r HTTP/1.1\r\n" + lines + b"\r\nhi")

    scope, message = told
    assert answer.startswith(b"HTTP/1.1 204 No Content\r\nDate: ")
    assert message == {"type": "http.request", "body": b"hi", "more_body": False}
    names = ("type", "method", "path", "raw_path", "query_string", "scheme", "http_version")
    assert [scope[name] for name in names] == [
        "http", "PATCH", "/a b/é", b"/a%20b/%C3%A9", b"q=%20&r", "http", "1.1",
    ]  # fmt: skip
    assert [value for name, value in scope["headers"] if name == b"x-twice"] == [b"1", b"2"]
    assert scope["client"][0] == "127.0.0.1"


async def test_the_host_that_the_target_names_wins() -> None:
    hosts: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        hosts.extend(value for name, value in scope["headers"] if name == b"host")
        await saying(200, b"")(scope, receive, send)

    async with served(app) as server:
        await ask(server, b"GET http://evil.example/ HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert hosts == [b"evil.example"]


async def test_a_connection_carries_one_request_after_the_other() -> None:
    async with served(saying(200, b"one")) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(GET + GET)
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"Content-Length: 3" in head
            assert await reader.readexactly(3) == b"one"
        writer.close()


@pytest.mark.parametrize("bodies", [(b"abc", b"def"), (b"abcdef", b"")])
async def test_an_answer_in_parts_with_a_length_is_put_together(bodies: tuple[bytes, ...]) -> None:
    async with served(saying(200, *bodies, headers=[(b"content-length", b"6")])) as server:
        answer = await ask(server, CLOSE)
    assert answer.endswith(b"\r\n\r\nabcdef")
    assert answer.lower().count(b"content-length: 6") == 1


async def test_an_answer_without_a_length_is_a_stream() -> None:
    async with served(saying(200, b"abc", b"x" * 200_000, b"", headers=[(b"x-a", b"b")])) as server:
        answer = await ask(server, GET)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert b"x-a: b" in head
    assert body.startswith(b"3\r\nabc\r\n10000\r\nxxx")
    assert body.endswith(b"\r\n0\r\n\r\n")


async def test_a_head_has_the_length_and_no_body() -> None:
    async with served(saying(200, b"abc", headers=[(b"content-length", b"3")])) as server:
        answer = await ask(server, CLOSE.replace(b"GET", b"HEAD"))
    assert answer.endswith(b"\r\n\r\n")
    assert answer.lower().count(b"content-length: 3") == 1


async def test_an_application_that_fails_is_a_500_and_one_that_breaks_off_is_cut() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        raise RuntimeError("on purpose")

    async with served(failing) as server:
        assert (await ask(server, CLOSE)).startswith(b"HTTP/1.1 500 ")
        cut = await ask(server, CLOSE.replace(b"/ ", b"/stream "))
    assert cut.endswith(b"\r\n\r\n3\r\nabc\r\n")


async def test_headers_cannot_break_out_of_their_line() -> None:
    async with served(saying(200, b"", headers=[(b"x", b"a\r\nset-cookie: b")])) as server:
        answer = await ask(server, CLOSE)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"set-cookie" not in answer


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("half", [False, True])
async def test_an_application_that_waits_for_it_is_told_of_a_caller_that_goes(
    streaming: bool, half: bool
) -> None:
    waiting, told = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if streaming:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        waiting.set()
        told.set_result(await receive())

    async with served(app) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(GET)
        await waiting.wait()
        writer.write_eof() if half else writer.transport.abort()
        assert await told == {"type": "http.disconnect"}
        writer.close()


async def test_a_caller_that_does_not_read_stops_the_application_not_the_process() -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while sent < 400:
            sent += 1
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async with served(app) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1000)
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        seen = -1
        while seen != sent:
            seen = sent
            for _ in range(200):
                await asyncio.sleep(0)
        assert sent < 400
        assert len(await reader.read()) > 40_000_000
        writer.close()


async def test_a_stop_ends_streams_and_answers_what_is_under_way() -> None:
    begun = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        begun.set()
        await receive()
        await send({"type": "http.response.body", "body": b""})

    async with served(app) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(GET)
        await begun.wait()
        async with asyncio.timeout(1.5):
            await server.stop()
        assert (await reader.read()).endswith(b"3\r\nabc\r\n0\r\n\r\n")
        writer.close()


async def test_streams_leave_room_for_others() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if scope["path"] == "/":
            await saying(200, b"hi")(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        await receive()

    async with served(app, room=Room(4, evicts=True)) as server:
        streams = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        heads = []
        for reader, writer in streams:
            writer.write(GET.replace(b"/ ", b"/stream "))
            heads.append(await reader.readline())
        assert [head[9:12] for head in heads] == [b"200", b"200", b"503"]
        assert (await ask(server, CLOSE)).endswith(b"hi")
        for _, writer in streams:
            writer.close()


async def test_limits_and_deadlines_are_those_of_the_wire() -> None:
    limits = Limits(headers=0.2, header_bytes=1000, header_count=10)
    async with served(saying(200, b"hi"), limits=limits) as server:
        assert (await ask(server, GET[:-2] + b"X: " + b"x" * 2000))[9:12] == b"431"
        assert (await ask(server, GET[:-2] + b"a: b\r\n" * 20 + b"\r\n"))[9:12] == b"431"
        large = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (BODY_BYTES + 1)
        assert (await ask(server, large))[9:12] == b"413"
        assert (await ask(server, GET[:-2]))[9:12] == b"408"


async def test_who_waits_for_a_100_gets_it() -> None:
    async with served(saying(200, b"hi")) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        assert (await reader.readline())[9:12] == b"200"
        writer.close()
