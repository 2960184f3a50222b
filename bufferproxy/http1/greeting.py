"""A caller whose TLS handshake is under way: it has the place and the deadline of a connection."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    import ssl

    from bufferproxy.http1.endpoint import Endpoint
    from bufferproxy.http1.server import Connection

_LOOSE_SECONDS = 60.0
"""The loop's own deadline: only for a handshake that `expire` has missed."""


class Greeting:
    """Becomes a connection of `protocol`, in its place, or ends."""

    waiting = True

    def __init__(
        self, caller: socket.socket, context: ssl.SSLContext, endpoint: Endpoint, protocol: type[Connection]
    ) -> None:
        self.deadline = endpoint.clock.now() + endpoint.limits.headers
        self._endpoint = endpoint
        self._protocol = protocol
        endpoint.join(self)
        self._task = asyncio.get_running_loop().create_task(self._greet(caller, context))

    async def _greet(self, caller: socket.socket, context: ssl.SSLContext) -> None:
        try:
            # Whoever does not get through the handshake is no news: port scans, probes, old clients.
            with contextlib.suppress(OSError):
                await asyncio.get_running_loop().connect_accepted_socket(
                    self._connection, caller, ssl=context, ssl_handshake_timeout=_LOOSE_SECONDS
                )
        finally:
            self._endpoint.leave(self)

    def _connection(self) -> Connection:
        connection = self._protocol()
        connection.place = self
        return connection

    def expire(self, now: float) -> None:
        self.abort()

    def shutdown(self) -> None:
        self.abort()

    def abort(self) -> None:
        self._task.cancel()

    def __repr__(self) -> str:
        return f"<Greeting until {self.deadline:.3f}>"
