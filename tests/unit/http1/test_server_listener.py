"""Listening: a taken port, TLS, and coming to an end in time."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from bufferproxy.errors import BufferproxyError
from bufferproxy.http1.listener import Listener, Tls

if TYPE_CHECKING:
    from pathlib import Path

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def certificate(folder: Path, name: str) -> tuple[str, str]:
    """A self-signed certificate for `localhost` and its key."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-out", str(cert), "-keyout", str(key)),
        ],
        check=True,
        capture_output=True,
    )
    return str(cert), str(key)


async def test_a_taken_port_is_said_to_be_taken(serving: Any) -> None:
    second = Listener("127.0.0.1", serving.listener.port, serving.listener.endpoint)

    with pytest.raises(
        BufferproxyError, match=f"cannot listen on 127.0.0.1:{second.port}: Address already in use"
    ):
        await second.start()


async def test_a_host_that_is_none_is_named(world: Any) -> None:
    listener = await world.listen()
    nowhere = Listener("host.invalid", 1, listener.endpoint)

    with pytest.raises(BufferproxyError, match=r"cannot listen on host\.invalid:1: "):
        await nowhere.start()


async def test_localhost_is_every_address_it_has(world: Any) -> None:
    endpoint = (await world.listen()).endpoint
    listener = Listener("localhost", 0, endpoint)
    await listener.start()
    for info in await asyncio.get_running_loop().getaddrinfo("localhost", listener.port, type=1):
        _, writer = await asyncio.open_connection(info[4][0], listener.port)
        writer.close()
        await writer.wait_closed()

    await listener.close(0.0)


async def test_nobody_gets_in_once_accepting_has_stopped(serving: Any) -> None:
    serving.listener.stop_accepting()
    serving.listener.stop_accepting()
    await serving.settle()

    with pytest.raises(ConnectionRefusedError):
        await serving.call()


async def test_close_waits_for_the_exchange_under_way(serving: Any) -> None:
    serving.handler.answer = None
    caller = await serving.call()
    caller.send(GET)
    exchange = await serving.handler.handled.get()
    closing = asyncio.ensure_future(serving.listener.close(30.0))
    await serving.elapse(29)
    assert not closing.done()

    exchange.reply(202, b"", b"stored")

    assert (await caller.reply()).body == b"stored"
    await closing


async def test_close_cuts_off_what_is_not_done_in_time(serving: Any) -> None:
    told: list[str] = []
    serving.handler.answer = None
    caller = await serving.call()
    caller.send(GET)
    exchange = await serving.handler.handled.get()
    exchange.on_hangup = lambda: told.append("gone")
    closing = asyncio.ensure_future(serving.listener.close(30.0))
    await serving.settle()

    await serving.elapse(30)
    await closing

    assert told == ["gone"]
    assert await caller.rest() == b""


async def test_a_close_that_is_cancelled_leaves_nothing_behind(serving: Any) -> None:
    serving.handler.answer = None
    caller = await serving.call()
    caller.send(GET)
    await serving.handler.handled.get()
    closing = asyncio.ensure_future(serving.listener.close(30.0))
    await serving.settle()

    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing

    assert not [task for task in asyncio.all_tasks() if "sleep" in repr(task) or "Event.wait" in repr(task)]


async def test_tls_says_https(world: Any, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "localhost")
    await world.listen(tls=Tls(cert, key))
    caller = await world.call(ssl.create_default_context(cafile=cert))

    assert (await caller.ask(GET)).body == b"GET / "
    assert world.handler.seen[0].scheme == "https"
    assert (await caller.ask(b"GET / HTTP/3.0\r\n\r\n")).slug == "version-not-supported"
    assert await caller.rest() == b""


async def test_a_held_caller_that_goes_is_noticed_behind_tls(world: Any, tmp_path: Path) -> None:
    told: list[str] = []
    cert, key = certificate(tmp_path, "localhost")
    await world.listen(tls=Tls(cert, key))
    world.handler.answer = None
    caller = await world.call(ssl.create_default_context(cafile=cert))
    caller.send(GET)
    exchange = await world.handler.handled.get()
    exchange.on_hangup = lambda: told.append("gone")

    caller.writer.close()
    await world.listener.endpoint.empty.wait()

    assert told == ["gone"]


async def test_a_caller_without_the_right_certificate_is_not_let_in(world: Any, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "localhost")
    client_cert, client_key = certificate(tmp_path, "client")
    await world.listen(tls=Tls(cert, key, client_cert))
    known = ssl.create_default_context(cafile=cert)
    known.load_cert_chain(client_cert, client_key)
    stranger = ssl.create_default_context(cafile=cert)

    assert (await (await world.call(known)).ask(GET)).status == 200
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        await (await world.call(stranger)).ask(GET)


async def test_a_certificate_that_cannot_be_read_is_said_so(world: Any, tmp_path: Path) -> None:
    endpoint = (await world.listen()).endpoint
    listener = Listener("127.0.0.1", 0, endpoint, Tls(str(tmp_path / "none.pem"), str(tmp_path / "none.key")))

    with pytest.raises(BufferproxyError, match=r"TLS for 127\.0\.0\.1:0: .*No such file"):
        await listener.start()
