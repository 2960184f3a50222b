"""Making a connection: resolve, connect, TLS; each way to fail is told apart, and none has sent a byte."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from bufferproxy.http1.client import Connection
from bufferproxy.http1.reply import Failure, Kind, Phase, ReplyLimits

if TYPE_CHECKING:
    from pathlib import Path

    from bufferproxy.clock import Clock
    from bufferproxy.http1.target import Target
    from bufferproxy.http1.turns import Turns

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port -> the addresses to try, in order. Raises OSError when there are none, or none allowed: what
it returns is what is connected to, so a check made there cannot be led astray by a second look-up."""


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """The system's resolver, on the loop's threads. An address stands for itself."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))


class SharedResolve:
    """Looks a name up once for all who ask in the meantime. A resolver that hangs holds one of the loop's few
    threads for its service, not one for each attempt: the other services need them too."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._under_way: dict[tuple[str, int], asyncio.Future[Sequence[str]]] = {}

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        asked = (host, port)
        answer = self._under_way.get(asked)
        if answer is None:
            answer = asyncio.ensure_future(self._resolve(host, port))
            self._under_way[asked] = answer
            answer.add_done_callback(lambda _: self._under_way.pop(asked))
        # Who runs out of time leaves alone: others wait for the same answer.
        return await asyncio.shield(answer)

    async def close(self) -> None:
        for answer in (pending := list(self._under_way.values())):
            answer.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


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
    within: float,
    clock: Clock,
    limits: ReplyLimits,
    tls: ssl.SSLContext | None,
    resolve: Resolve = system_resolve,
    turns: Turns | None = None,
) -> Connection | Failure:
    """A connection that is ready, with TLS if there is a context for it, in at most `within` seconds.
    Addresses are tried one after the other, each with its share of the time left, so that a silent first one
    does not hide the others."""
    ends_at = clock.now() + within
    try:
        async with asyncio.timeout(within):
            addresses = await resolve(target.host, target.port)
    except TimeoutError:
        return _failure(Kind.TIMEOUT, f"{target.host} was not resolved within {within:g} s")
    except (OSError, UnicodeError) as error:
        return _failure(Kind.UNRESOLVED, f"{target.host}: {_text(error)}")
    failure = _failure(Kind.UNRESOLVED, f"{target.host} has no address")
    for index, address in enumerate(addresses):
        share = (ends_at - clock.now()) / (len(addresses) - index)
        connection = Connection(target, clock, limits, turns)
        outcome = await _open(connection, address, tls, max(share, 0.0))
        if outcome is None:
            return connection
        failure = outcome
    return failure


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
    except OSError as error:
        return _failure(_kind(error), f"{address} port {target.port}: {_text(error)}")
    finally:
        if not opened:
            connection.abort()  # cancelled, or out of time, when the socket was already open
    return None


def _kind(error: OSError) -> Kind:
    if isinstance(error, ssl.SSLError):
        return Kind.TLS
    if isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
        return Kind.RESET
    return Kind.REFUSED


def _failure(kind: Kind, detail: str) -> Failure:
    return Failure(Phase.CONNECT, kind, sent=False, detail=detail)


def _text(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
