"""As many connections as there may be, and what becomes of one more."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from bufferproxy.http1.endpoint import Room
from bufferproxy.http1.listener import Tls
from tests.unit.http1.test_server_listener import certificate

if TYPE_CHECKING:
    from pathlib import Path

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


def limited(world: Any, most: int, *, evicts: bool = False) -> list[str]:
    """What is written down for each that is turned away."""
    told: list[str] = []
    world.listener.endpoint.room = Room(most, lambda: told.append("away"), evicts)
    return told


async def test_one_too_many_is_turned_away_until_another_goes(serving: Any) -> None:
    told = limited(serving, 2)
    first, second = await serving.call(), await serving.call()
    for caller in (first, second):
        assert (await caller.ask(GET)).status == 200

    third = await serving.call()

    assert (await third.rest(), told) == (b"", ["away"])
    assert serving.listener.endpoint.full
    first.hang_up()
    await serving.until(lambda: not serving.listener.endpoint.full)
    assert (await (await serving.call()).ask(GET)).status == 200
    assert (await second.ask(GET)).status == 200


async def test_a_burst_takes_no_more_than_there_is_room_for(serving: Any) -> None:
    told = limited(serving, 20)
    before = len(os.listdir("/proc/self/fd"))
    callers = [await serving.call() for _ in range(200)]
    most = 0

    async def counting() -> None:
        nonlocal most
        while len(told) < 180:
            most = max(
                most,
                len(os.listdir("/proc/self/fd")) - before - sum(not c.writer.is_closing() for c in callers),
            )
            await asyncio.sleep(0)

    await asyncio.wait_for(counting(), 20)
    assert len(serving.listener.endpoint.connections) == 20
    assert most < 60


async def test_who_has_kept_us_waiting_the_longest_makes_room(serving: Any) -> None:
    told = limited(serving, 2, evicts=True)
    serving.handler.answer = None
    answered, idle = await serving.call(), await serving.call()
    answered.send(GET)
    exchange = await serving.handler.handled.get()
    await serving.until(lambda: serving.listener.endpoint.full)

    new = await serving.call()
    new.send(GET)
    second = await serving.handler.handled.get()

    assert (await idle.rest(), told) == (b"", [])
    one_more = await serving.call()
    assert (await one_more.rest(), told) == (b"", ["away"])
    for caller, waiting in ((answered, exchange), (new, second)):
        waiting.reply(200, b"", b"")
        assert (await caller.reply()).status == 200


async def test_a_handshake_takes_the_place_of_a_connection_and_has_its_deadline(
    world: Any, tmp_path: Path
) -> None:
    cert, key = certificate(tmp_path, "localhost")
    await world.listen(tls=Tls(cert, key))
    told = limited(world, 2)
    silent = [await world.call() for _ in range(2)]
    await world.until(lambda: world.listener.endpoint.full)
    assert (await (await world.call()).rest(), told) == (b"", ["away"])

    await world.elapse(10.5)

    assert [await caller.rest() for caller in silent] == [b"", b""]
    await world.until(lambda: not world.listener.endpoint.connections)
    trusting = ssl.create_default_context(cafile=cert)
    callers = [await world.call(trusting) for _ in range(2)]
    assert [(await caller.ask(GET)).status for caller in callers] == [200, 200]
    assert len(world.listener.endpoint.connections) == 2
