from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING

import httpx2
import pytest

from bufferproxy.admin.server import AdminServer, AdminTls
from bufferproxy.errors import BufferproxyError, ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Receive, Scope, Send


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


async def test_it_serves_from_start_to_stop_on_a_free_port() -> None:
    server = AdminServer(hello, "127.0.0.1", 0)
    await server.start()
    assert server.port > 0
    async with httpx2.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{server.port}/")
        assert (answer.status_code, answer.text) == (200, "hi")
        assert "server" not in answer.headers
    await server.stop()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"http://127.0.0.1:{server.port}/", trust_env=False)


async def test_stopping_twice_or_before_the_start_does_nothing() -> None:
    server = AdminServer(hello, "127.0.0.1", 0)
    await server.stop()
    await server.start()
    await server.stop()
    await server.stop()


async def test_signals_stay_as_they_were() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    server = AdminServer(hello, "127.0.0.1", 0)
    await server.start()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    await server.stop()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_a_taken_port_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BufferproxyError) as caught:
            await AdminServer(hello, "127.0.0.1", port).start()
    assert str(caught.value) == f"the admin plane cannot listen on 127.0.0.1:{port}: Address already in use"


async def test_a_host_that_does_not_exist_is_a_clear_error() -> None:
    with pytest.raises(BufferproxyError, match=r"cannot listen on 203\.0\.113\.1:0: Cannot assign"):
        await AdminServer(hello, "203.0.113.1", 0).start()


async def test_tls_files_that_are_no_good_are_a_configuration_error(tmp_path: Path) -> None:
    broken = tmp_path / "cert.pem"
    broken.write_text("no certificate")
    for file in (str(broken), str(tmp_path / "missing.pem")):
        with pytest.raises(ConfigurationError, match=r"admin\.tls: "):
            await AdminServer(hello, "127.0.0.1", 0, AdminTls(file)).start()


async def test_localhost_is_every_address_of_it() -> None:
    server = AdminServer(hello, "localhost", 0)
    await server.start()
    async with httpx2.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{server.port}/")).text == "hi"
    await server.stop()


async def test_an_idle_connection_does_not_hold_up_the_stop() -> None:
    server = AdminServer(hello, "127.0.0.1", 0)
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    async with asyncio.timeout(2):
        await server.stop()
        assert (await reader.read()).endswith(b"hi")
    writer.close()


@pytest.mark.parametrize("turns", range(8))
async def test_a_cancelled_start_leaves_nothing_behind(turns: int) -> None:
    before = asyncio.all_tasks()
    server = AdminServer(hello, "127.0.0.1", 0)
    starting = asyncio.create_task(server.start())
    for _ in range(turns):
        await asyncio.sleep(0)
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    await server.stop()
    if server.port:
        with socket.create_server(("127.0.0.1", server.port)):
            pass
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    """A certificate for localhost that is its own authority, and its key."""
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-keyout", key, "-out", cert, "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    return cert, key


async def answer_over_tls(port: int, context: ssl.SSLContext) -> bytes:
    """Empty when the server did not want this client."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost"
    )
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return await reader.read()
    except (ssl.SSLError, ConnectionError):
        return b""
    finally:
        writer.close()


async def test_tls_is_served_and_clients_need_their_certificate(pair: tuple[str, str]) -> None:
    cert, key = pair
    server = AdminServer(hello, "127.0.0.1", 0, AdminTls(cert, key, client_ca_file=cert))
    await server.start()
    context = ssl.create_default_context(cafile=cert)
    stranger = await answer_over_tls(server.port, context)
    context.load_cert_chain(cert, key)
    friend = await answer_over_tls(server.port, context)
    await server.stop()
    assert stranger == b""
    assert friend.endswith(b"hi")
