"""Sockets, TLS when asked, and our protocol behind them."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

from bufferproxy.errors import BufferproxyError
from bufferproxy.http1.greeting import Greeting
from bufferproxy.http1.server import protocol_class
from bufferproxy.http1.sockets import BACKLOG, bind

if TYPE_CHECKING:
    import socket

    from bufferproxy.http1.endpoint import Endpoint

_TURN_ACCEPTS = 16
_REST_SECONDS = 0.1
"""Without descriptors nothing can be accepted; the system is asked again after this."""


class Tls(NamedTuple):
    """Files, PEM. The key may be in the file of `cert`. With `client_ca` a caller must show a certificate
    signed by it."""

    cert: str
    key: str | None = None
    client_ca: str | None = None

    def context(self) -> ssl.SSLContext:
        """Raises OSError (ssl.SSLError is one) for files that are no good."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self.cert, self.key or None)
        if self.client_ca is not None:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class Listener:
    """Accepts on `host:port` from `start` to `stop_accepting`. Port 0 is any free one: see `port`."""

    def __init__(
        self, host: str, port: int, endpoint: Endpoint, tls: Tls | None = None, *, plane: str = ""
    ) -> None:
        """`plane`: how an error names it, when there are two."""
        self.host = host
        self.port = port
        self.endpoint = endpoint
        self._plane = f"{plane} " if plane else ""
        self._tls = tls
        self._protocol = protocol_class(endpoint)
        self._servers: list[asyncio.Server] = []
        self._greeters: list[socket.socket] = []
        self._watch: asyncio.Task[None] | None = None

    async def start(self, context: ssl.SSLContext | None = None) -> None:
        """Accept from now on, with TLS from `context` when it is given. Raises BufferproxyError, which says
        why, when that cannot be."""
        where = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        try:
            context = context if self._tls is None else self._tls.context()
        except OSError as error:
            raise BufferproxyError(f"TLS for {where}: {error}") from error
        try:
            sockets = await bind(self.host, self.port)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            raise BufferproxyError(f"{self._plane}cannot listen on {where}: {reason}") from error
        self.port = sockets[0].getsockname()[1]
        try:
            await self._serve(sockets, context)
        except BaseException:  # cancelled
            self.stop_accepting()
            for each in sockets:
                each.close()
            raise
        self._watch = asyncio.create_task(self.endpoint.watch(), name=f"deadlines of port {self.port}")

    async def _serve(self, sockets: list[socket.socket], context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        if context is None:
            for each in sockets:
                server = await loop.create_server(self._protocol, sock=each, backlog=BACKLOG)
                self._servers.append(server)
            return
        # A handshake that does not end is a connection that no protocol sees, so these are accepted here.
        for each in sockets:
            self._greeters.append(each)
            loop.add_reader(each, self._greet, each, context)

    def _greet(self, listening: socket.socket, context: ssl.SSLContext) -> None:
        for _ in range(_TURN_ACCEPTS):
            try:
                caller, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._rest(listening, context)
                return
            if not self.endpoint.admits():
                caller.close()
                continue
            caller.setblocking(False)  # noqa: FBT003
            Greeting(caller, context, self.endpoint, self._protocol)

    def _rest(self, listening: socket.socket, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)

        def go_on() -> None:
            if listening in self._greeters:
                loop.add_reader(listening, self._greet, listening, context)

        loop.call_later(_REST_SECONDS, go_on)

    def stop_accepting(self) -> None:
        """Close the sockets; every connection finishes the exchange it is in, and closes. Can be repeated."""
        for server in self._servers:
            server.close()
        for each in self._greeters:
            asyncio.get_running_loop().remove_reader(each)
            each.close()
        self._greeters.clear()
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

    def __repr__(self) -> str:
        return f"<Listener {self.host}:{self.port} {len(self.endpoint.connections)} connections>"


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
