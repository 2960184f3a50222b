"""The admin plane's listener: uvicorn loads the application and its TLS, our own wire carries them."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, NamedTuple

import uvicorn

from bufferproxy.admin.asgi import AsgiHandler
from bufferproxy.clock import SystemClock
from bufferproxy.errors import ConfigurationError
from bufferproxy.http1.endpoint import Endpoint, Room
from bufferproxy.http1.limits import Limits
from bufferproxy.http1.listener import Listener

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
        self._config = _config(app, tls)
        self._listener = Listener(host, port, endpoint, plane="the admin plane")
        self._serving = False

    async def start(self) -> None:
        """Returns when connections are accepted. Raises BufferproxyError when the address cannot be had,
        ConfigurationError when the TLS files are no good."""
        config = self._config
        try:
            config.load()
        except OSError as error:  # ssl.SSLError is one
            files = f"{config.ssl_certfile}, {config.ssl_keyfile}, {config.ssl_ca_certs}"
            raise ConfigurationError(f"admin.tls: {files}: {error}") from error
        self._handler.app = config.loaded_app
        await self._listener.start(config.ssl)
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


def _config(app: ASGIApp, tls: AdminTls | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        ws="none",
        lifespan="off",
        log_config=None,
        # Who asks is decided by tokens, never by an address that a header claims.
        proxy_headers=False,
        ssl_certfile=tls and tls.cert_file,
        ssl_keyfile=tls and tls.key_file,
        ssl_ca_certs=tls and tls.client_ca_file,
        ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.client_ca_file else ssl.CERT_NONE,
    )
