"""The admin plane's listener: ordinary uvicorn in the event loop that is there, without its signals."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from typing import TYPE_CHECKING, NamedTuple

import uvicorn

from bufferproxy.errors import BufferproxyError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

STOP_WITHIN = 2
"""Seconds that open answers have to finish when the server stops."""


class AdminTls(NamedTuple):
    """PEM files. With `client_ca_file`, clients need a certificate."""

    cert_file: str
    key_file: str | None = None
    client_ca_file: str | None = None


class _Server(uvicorn.Server):
    """Signals are handled once for the whole process, by who assembles it: uvicorn's own handlers would take
    them over here, and raise them again after serving."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


class AdminServer:
    """Serves `app` from `start` to `stop`. Port 0 takes any free one: see `port`."""

    def __init__(self, app: ASGIApp, host: str, port: int, tls: AdminTls | None = None) -> None:
        self._host = host
        self._port = port
        self._server = _Server(_config(app, tls))
        self._sockets: list[socket.socket] = []
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when connections are accepted. Raises BufferproxyError when the address cannot be had,
        ConfigurationError when the TLS files are no good."""
        _load(self._server.config)
        self._sockets = await _listen(self._host, self._port)
        self._serving = asyncio.create_task(self._server.serve(self._sockets), name="admin")
        up = asyncio.create_task(self._server.up.wait())
        try:
            await asyncio.wait((self._serving, up), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._abandon()
            raise
        finally:
            up.cancel()
        if self._serving.done():
            await self._serving
            raise BufferproxyError("the admin plane did not start")

    @property
    def port(self) -> int:
        """The one that is listened on, once started."""
        if self._sockets and self._sockets[0].fileno() >= 0:
            self._port = int(self._sockets[0].getsockname()[1])
        return self._port

    async def stop(self) -> None:
        """Answers what is under way, for two seconds at most, then closes. Again: nothing."""
        if self._serving is None:
            return
        serving, self._serving = self._serving, None
        self._server.should_exit = True
        await serving

    async def _abandon(self) -> None:
        serving, self._serving = self._serving, None
        if serving is not None:
            serving.cancel()
            await asyncio.wait((serving,))
        for each in self._sockets:
            each.close()

    def __repr__(self) -> str:
        state = "serving" if self._serving else "stopped"
        return f"<AdminServer {self._host}:{self.port} {state}>"


def _config(app: ASGIApp, tls: AdminTls | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        # Who asks is decided by tokens, never by an address that a header claims.
        proxy_headers=False,
        timeout_graceful_shutdown=STOP_WITHIN,
        ssl_certfile=tls and tls.cert_file,
        ssl_keyfile=tls and tls.key_file,
        ssl_ca_certs=tls and tls.client_ca_file,
        ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.client_ca_file else ssl.CERT_NONE,
    )


def _load(config: uvicorn.Config) -> None:
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        files = f"{config.ssl_certfile}, {config.ssl_keyfile}, {config.ssl_ca_certs}"
        raise ConfigurationError(f"admin.tls: {files}: {error}") from error


async def _listen(host: str, port: int) -> list[socket.socket]:
    """A listening socket for each address of `host`; port 0 becomes the same port for all of them."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    sockets: list[socket.socket] = []
    try:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # IPv4 first: `localhost` has an IPv6 address even where the system has no IPv6, and that is no error.
        for family, _, _, _, address in sorted(
            dict.fromkeys(found), key=lambda one: one[0] != socket.AF_INET
        ):
            taken = sockets[0].getsockname()[1] if sockets else port
            try:
                sockets.append(_bound(family, (address[0], taken, *address[2:])))
            except OSError as error:
                if not sockets or error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
    except OSError as error:
        for each in sockets:
            each.close()
        raise BufferproxyError(f"the admin plane cannot listen on {where}: {error.strerror}") from error
    return sockets


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen()
        listener.setblocking(False)  # noqa: FBT003
    except OSError:
        listener.close()
        raise
    return listener
