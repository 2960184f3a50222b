"""The admin plane's listener: our own wire in front of an ASGI application."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bufferproxy.admin.asgi import AsgiHandler
from bufferproxy.clock import SystemClock
from bufferproxy.errors import ConfigurationError
from bufferproxy.http1.endpoint import Endpoint, Room
from bufferproxy.http1.limits import Limits
from bufferproxy.http1.listener import Listener, Tls

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from bufferproxy.clock import Clock

STOP_WITHIN = 2.0
"""Seconds that open answers have to finish when the server stops."""

CONNECTIONS = 64
"""Most connections at once. Beyond that the one that has kept us waiting the longest makes room, so that who
asks for health or metrics is answered whoever else is there."""


class AdminTls(NamedTuple):
    """PEM files. With `client_ca_file`, clients need a certificate."""

    cert_file: str
    key_file: str | None = None
    client_ca_file: str | None = None


class AdminServer:
    """Serves `app` from `start` to `stop`. Port 0 takes any free one: see `port`."""

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        tls: AdminTls | None = None,
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
        room: Room | None = None,
    ) -> None:
        room = Room(CONNECTIONS, evicts=True) if room is None else room
        self._handler = AsgiHandler(app, streams=max(1, int(room.most) // 2))
        endpoint = Endpoint(self._handler, limits or Limits(), clock or SystemClock(), room=room)
        self._tls = None if tls is None else Tls(*tls)
        self._listener = Listener(host, port, endpoint, self._tls, plane="the admin plane")
        self._serving = False

    async def start(self) -> None:
        """Returns when connections are accepted. Raises BufferproxyError when the address cannot be had,
        ConfigurationError when the TLS files are no good."""
        if self._tls is not None:
            try:
                self._tls.context()
            except OSError as error:
                raise ConfigurationError(f"admin.tls: {', '.join(map(str, self._tls))}: {error}") from error
        await self._listener.start()
        self._serving = True

    @property
    def port(self) -> int:
        """The one that is listened on, once started."""
        return self._listener.port

    async def stop(self) -> None:
        """Answers what is under way, for two seconds at most, then closes. Again: nothing."""
        if not self._serving:
            return
        self._serving = False
        self._handler.end_streams()
        await self._listener.close(STOP_WITHIN)
        await self._handler.stop()

    def __repr__(self) -> str:
        state = "serving" if self._serving else "stopped"
        return f"<AdminServer {self._listener.host}:{self.port} {state}>"
