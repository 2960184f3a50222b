"""The system's resolver, and that one name that hangs holds nobody else up."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from bufferproxy.deliver.names import Answer, NoAnswer
from bufferproxy.deliver.resolve import system_resolve

Found = list[tuple[Any, ...]]


async def test_a_name_has_the_addresses_that_the_system_knows() -> None:
    told = await system_resolve("localhost", 80)
    assert isinstance(told, Answer)
    assert "127.0.0.1" in told.addresses or "::1" in told.addresses
    assert len(set(told.addresses)) == len(told.addresses)
    assert told.ttl is None


@pytest.mark.parametrize("host", ["nobody.invalid", "x" * 64 + ".invalid"])
async def test_a_name_that_does_not_exist_is_an_answer(host: str) -> None:
    told = await system_resolve(host, 80)
    # A machine without any resolver cannot tell.
    assert told.detail
    assert isinstance(told, NoAnswer) or told.addresses == ()


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), Answer((), detail="unknown")),
        (socket.gaierror(socket.EAI_NODATA, "no address"), Answer((), detail="no address")),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), NoAnswer("try again")),
        (socket.gaierror(socket.EAI_FAIL, "failed"), NoAnswer("failed")),
        (OSError(24, "too many open files"), NoAnswer("too many open files")),
    ],
)
async def test_a_failure_of_the_resolver_is_told_from_an_answer(
    monkeypatch: pytest.MonkeyPatch, error: OSError, answer: Answer | NoAnswer
) -> None:
    def fail(*_: object, **__: object) -> Found:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert await system_resolve("auth.example", 80) == answer


async def test_names_that_hang_hold_up_no_other_one_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    hanging = threading.Semaphore(0)

    def look_up(host: str, *_: object, **__: object) -> Found:
        if host == "hangs.example":
            hanging.release()
            over.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    # More than all the threads of the loop.
    stuck = [asyncio.ensure_future(system_resolve("hangs.example", 80)) for _ in range(40)]
    try:
        for _ in stuck:
            await asyncio.to_thread(hanging.acquire)
        assert await system_resolve("works.example", 80) == Answer(("127.0.0.1",))
        assert not any(look.done() for look in stuck)
    finally:
        over.set()
    await asyncio.gather(*stuck)


async def test_who_waits_no_more_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    over, asked = threading.Event(), threading.Event()

    def look_up(*_: object, **__: object) -> Found:
        asked.set()
        over.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    looking = asyncio.ensure_future(system_resolve("auth.example", 80))
    await asyncio.to_thread(asked.wait)
    looking.cancel()
    over.set()
    await asyncio.wait([looking])
    assert looking.cancelled()
    (thread,) = [one for one in threading.enumerate() if one.name == "resolve-auth.example"] or [None]
    if thread is not None:
        assert thread.daemon
        await asyncio.to_thread(thread.join)
    await asyncio.sleep(0)
