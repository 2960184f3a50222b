"""A socket, TLS when asked, and our protocol behind them, run by uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Generator
from typing import Any, NamedTuple

import uvicorn

from bufferproxy.errors import BufferproxyError
from bufferproxy.http1.endpoint import Endpoint
from bufferproxy.http1.server import protocol_class

BACKLOG = 2048


class Tls(NamedTuple):
    """Files, PEM. With `client_ca` a caller must show a certificate signed by it."""

    cert: str
    key: str
    client_ca: str | None = None


class _Server(uvicorn.Server):
    """Signals belong to who assembles the process: two servers in one would overwrite each other's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class Listener:
    """Accepts on `host:port` from `start` to `stop_accepting`. Port 0 is any free one: see `port`."""

    def __init__(self, host: str, port: int, endpoint: Endpoint, tls: Tls | None = None) -> None:
        self.host = host
        self.port = port
        self.endpoint = endpoint
        self._tls = tls
        self._server: _Server | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Accept from now on. Raises BufferproxyError, which says why, when that cannot be."""
        config = self._config()
        sockets = await self._bind()
        self.port = sockets[0].getsockname()[1]
        server = self._server = _Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets)
        self._watch = asyncio.create_task(self.endpoint.watch(), name=f"deadlines of port {self.port}")

    def stop_accepting(self) -> None:
        """Close the socket; every connection finishes the exchange it is in, and closes. Can be repeated."""
        if self._server is not None:
            for server in self._server.servers:
                server.close()
        for connection in tuple(self.endpoint.connections):
            connection.shutdown()

    async def close(self, grace: float) -> None:
        """Stop accepting, wait up to `grace` seconds for what is under way, cut off the rest."""
        self.stop_accepting()
        endpoint = self.endpoint
        if endpoint.connections:
            waits = [
                asyncio.ensure_future(endpoint.empty.wait()),
                asyncio.ensure_future(endpoint.clock.sleep(grace)),
            ]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _cancel(*waits)
            for connection in tuple(endpoint.connections):
                connection.abort()
            await endpoint.empty.wait()
        if self._watch is not None:
            await _cancel(self._watch)

    def _config(self) -> uvicorn.Config:
        tls = self._tls
        config = uvicorn.Config(
            _no_application,
            http=protocol_class(self.endpoint),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            backlog=BACKLOG,
            ssl_certfile=tls.cert if tls else None,
            ssl_keyfile=tls.key if tls else None,
            ssl_ca_certs=tls.client_ca if tls else None,
            ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.client_ca else ssl.CERT_NONE,
        )
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            raise BufferproxyError(f"TLS for {self.host}:{self.port}: {error}") from error
        return config

    async def _bind(self) -> list[socket.socket]:
        """One socket for each address of the host, as asyncio itself would: `localhost` can be two."""
        loop = asyncio.get_running_loop()
        sockets: list[socket.socket] = []
        try:
            found = await loop.getaddrinfo(
                self.host or None, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, _, _, _, address in dict.fromkeys(found):
                port = sockets[0].getsockname()[1] if sockets else address[1]
                sockets.append(_bound(family, (address[0], port, *address[2:])))
        except OSError as error:
            for bound in sockets:
                bound.close()
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            raise BufferproxyError(f"cannot listen on {self.host}:{self.port}: {reason}") from error
        return sockets

    def __repr__(self) -> str:
        return f"<Listener {self.host}:{self.port} {len(self.endpoint.connections)} connections>"


def _bound(family: int, address: tuple[Any, ...]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.setblocking(False)  # noqa: FBT003
        bound.bind(address)
        # Now, not when uvicorn comes to it: a second process on this port is found out by listening only.
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _no_application(scope: object, receive: object, send: object) -> None:
    """uvicorn wants one; our protocol never calls it."""
