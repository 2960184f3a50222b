"""Slow callers: each part of a request has its time, and one clock hand watches all of them."""

from __future__ import annotations

from typing import Any

import pytest

from bufferproxy.http1.limits import LINGER, Limits

LIMITS = Limits(headers=10.0, body=30.0, idle=75.0)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
BODY = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe"


@pytest.fixture
async def slow(world: Any) -> Any:
    await world.listen(LIMITS)
    return world


async def until_in(world: Any, phase: str) -> None:
    """Wait until the only connection is where it should be."""

    def there() -> bool:
        return any(
            f" {phase} " in repr(connection) and (phase != "head" or connection._begun)
            for connection in world.listener.endpoint.connections
        )

    await world.until(there)


async def test_headers_that_take_too_long_are_refused(slow: Any) -> None:
    caller = await slow.call()
    caller.send(b"GET / HTTP/1.1\r\nHo")
    await until_in(slow, "head")
    await slow.elapse(5)
    caller.send(b"st: a\r\n")
    await slow.elapse(4.9)
    assert slow.refused == []

    await slow.elapse(0.6)

    assert ((await caller.reply()).slug, await caller.rest()) == ("receive-timeout", b"")
    assert slow.refused == ["receive-timeout"]


async def test_a_body_that_takes_too_long_is_refused(slow: Any) -> None:
    caller = await slow.call()
    caller.send(BODY)
    await until_in(slow, "body")
    await slow.elapse(29.5)
    assert slow.refused == []

    await slow.elapse(0.6)

    assert ((await caller.reply()).slug, await caller.rest()) == ("receive-timeout", b"")
    assert slow.handler.seen == []


async def test_an_idle_connection_closes_without_a_word(slow: Any) -> None:
    fresh, used = await slow.call(), await slow.call()
    await used.ask(GET)
    await slow.elapse(74)
    assert len(slow.listener.endpoint.connections) == 2

    await slow.elapse(1.5)

    assert (await fresh.rest(), await used.rest()) == (b"", b"")
    assert slow.refused == []


async def test_empty_lines_are_idleness(slow: Any) -> None:
    caller = await slow.call()
    for _ in range(8):
        caller.send(b"\r\n")
        await slow.elapse(10)

    assert await caller.rest() == b""


async def test_every_request_has_its_own_time(slow: Any) -> None:
    caller = await slow.call()
    for _ in range(3):
        caller.send(GET[:9])
        await until_in(slow, "head")
        await slow.elapse(9)
        assert (await caller.ask(GET[9:])).status == 200
        await slow.elapse(70)


async def test_a_request_that_is_being_answered_has_no_deadline(slow: Any) -> None:
    slow.handler.answer = None
    caller = await slow.call()
    caller.send(GET)
    exchange = await slow.handler.handled.get()

    await slow.elapse(100_000)
    exchange.reply(200, b"", b"late")

    assert (await caller.reply()).body == b"late"


async def test_a_refused_body_that_never_comes_closes_without_another_word(slow: Any) -> None:
    slow.handler.allowed = 1
    caller = await slow.call()
    assert (await caller.ask(BODY)).slug == "body-too-large"

    await slow.elapse(31)

    assert await caller.rest() == b""


async def test_a_refused_caller_that_sends_on_is_listened_to_for_a_while_only(slow: Any) -> None:
    caller = await slow.call()
    assert (await caller.ask(b"nonsense\r\n\r\n")).status == 400
    caller.send(b"more")
    await slow.settle()
    assert len(slow.listener.endpoint.connections) == 1

    await slow.elapse(LINGER + 0.5)
    await slow.listener.endpoint.empty.wait()


async def test_a_caller_that_reads_nothing_is_cut_off(slow: Any) -> None:
    slow.handler.answer = lambda exchange: exchange.reply(200, b"", b"x" * 20_000_000)
    caller = await slow.call()
    caller.writer.transport.pause_reading()
    caller.send(GET)
    await slow.handler.handled.get()
    await slow.elapse(70)
    assert len(slow.listener.endpoint.connections) == 1

    # The kernel may have taken some meanwhile: that is progress, and gives it as much time again.
    await slow.elapse(76)
    await slow.elapse(76)

    await slow.listener.endpoint.empty.wait()


async def test_a_caller_that_reads_slowly_is_not_cut_off(slow: Any) -> None:
    slow.handler.answer = lambda exchange: exchange.reply(200, b"", b"x" * 20_000_000)
    caller = await slow.call()
    caller.writer.transport.pause_reading()
    caller.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    await slow.handler.handled.get()
    connection = next(iter(slow.listener.endpoint.connections))
    taken = 0
    for _ in range(4):
        before = connection._transport.get_write_buffer_size()
        caller.writer.transport.resume_reading()
        while connection._transport.get_write_buffer_size() == before:
            taken += len(await caller.reader.read(100_000))
        caller.writer.transport.pause_reading()
        await slow.elapse(76)
        assert len(slow.listener.endpoint.connections) == 1
    caller.writer.transport.resume_reading()

    assert taken + len(await caller.rest()) > 20_000_000
