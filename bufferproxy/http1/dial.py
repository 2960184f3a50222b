"""Making a connection: connect, TLS; each way to fail is told apart, and none has sent a byte."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING

from bufferproxy.http1.client import Connection
from bufferproxy.http1.reply import Failure, Kind, Phase, ReplyLimits

if TYPE_CHECKING:
    from pathlib import Path

    from bufferproxy.clock import Clock
    from bufferproxy.http1.target import Target
    from bufferproxy.http1.turns import Turns


def client_tls(
    ca_file: Path | None = None, cert_file: Path | None = None, key_file: Path | None = None
) -> ssl.SSLContext:
    """TLS towards a service: certificate and name are always checked, against `ca_file` or the system's
    authorities. Raises OSError (ssl.SSLError is one) for files that do not serve."""
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.set_alpn_protocols(["http/1.1"])
    # A stream that ends without a farewell is cut, not ended: Python's default would hide the difference.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if cert_file is not None:
        context.load_cert_chain(str(cert_file), None if key_file is None else str(key_file))
    return context


async def dial(
    target: Target,
    *,
    address: str | None = None,
    within: float,
    clock: Clock,
    limits: ReplyLimits,
    tls: ssl.SSLContext | None,
    turns: Turns | None = None,
) -> Connection | Failure:
    """A connection that is ready, with TLS if there is a context for it, in at most `within` seconds. To
    `address` where one is given, and then nobody is asked what the name stands for; the certificate must name
    the target's host all the same."""
    connection = Connection(target, clock, limits, turns)
    failure = await _open(connection, address or target.host, tls, within)
    return connection if failure is None else failure


async def _open(
    connection: Connection, address: str, tls: ssl.SSLContext | None, within: float
) -> Failure | None:
    """None: it is ready. `server_hostname` is what the certificate must name, not the address."""
    target = connection.target
    loop = asyncio.get_running_loop()
    opened = False
    try:
        async with asyncio.timeout(within):
            await loop.create_connection(
                lambda: connection,
                address,
                target.port,
                ssl=tls,
                server_hostname=None if tls is None else target.host,
            )
        opened = True
    except TimeoutError:
        return _failure(Kind.TIMEOUT, f"{address} port {target.port}: no connection in {within:.1f} s")
    except (OSError, UnicodeError) as error:
        return _failure(_kind(error), f"{address} port {target.port}: {_text(error)}")
    finally:
        if not opened:
            connection.abort()  # cancelled, or out of time, when the socket was already open
    return None


def _kind(error: Exception) -> Kind:
    if isinstance(error, socket.gaierror | UnicodeError):
        return Kind.UNRESOLVED
    if isinstance(error, ssl.SSLError):
        return Kind.TLS
    if isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
        return Kind.RESET
    return Kind.REFUSED


def _failure(kind: Kind, detail: str) -> Failure:
    return Failure(Phase.CONNECT, kind, sent=False, detail=detail)


def _text(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
