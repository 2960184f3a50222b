"""The network client that all of kafka-python's clients here are given: the library's own, with less to do
for each request. Its I/O loop asks the selector before each write whether it may, and takes a socket out of
the selector and puts it back for each piece of an answer (brokers send four): eight turns for one question.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from typing import Any

from kafka.errors import KafkaProtocolError
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import KernelEvent, NetworkSelector, TaskState


class Client(KafkaNetClient):  # type: ignore[misc]
    """Writes a request when it is made, and stays registered for its answers."""

    def __init__(self, **settings: Any) -> None:
        net = _Loop(**settings)
        super().__init__(net=net, manager=_Connections(net, **settings), **settings)


class _Loop(NetworkSelector):  # type: ignore[misc]
    def parked(self) -> Any:
        """Until the socket for which the task is registered can be read."""
        return KernelEvent("_park")

    def _park(self) -> None:
        self._current.state = TaskState.WAIT_IO


class _Connections(KafkaConnectionManager):  # type: ignore[misc]
    async def _build_transport(self, node: Any, timeout_at: float | None = None) -> Any:
        # Connected and through its handshake, and nothing is read or written yet.
        transport = await super()._build_transport(node, timeout_at=timeout_at)
        transport.write = _writing_at_once(transport, transport.write)
        transport._read_from_sock = _reading(transport)
        return transport


def _writing_at_once(transport: Any, later: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Requests are made on the I/O thread only, so nothing else writes meanwhile."""

    def write(data: bytes) -> None:
        if transport._writing or transport._closed or not transport._write or not data:
            later(data)
            return
        transport._write_buffer.append(data)
        _, error = transport._sock_send()
        transport.last_write = time.monotonic()
        if error is not None:
            # In its own turn: it fails all requests in flight, of which the caller is just making one.
            transport._net.call_soon(lambda: transport.abort(error=error))
        elif transport._write_buffer:
            transport._writing = True
            transport._write_task = transport._net.call_soon(transport._write_to_sock)

    return write


def _reading(transport: Any) -> Callable[[], Any]:
    """As the transport's own, for a connection that is never told to pause reading."""
    net, sock = transport._net, transport._sock

    async def read() -> None:
        net.register_event(sock, selectors.EVENT_READ, net._current)
        try:
            while transport._read and not transport._closed:
                await net.parked()
                data, error = transport._sock_recv()
                if error is None:
                    transport.last_read = time.monotonic()
                    try:
                        transport._protocol.data_received(data)
                    except KafkaProtocolError as broken:
                        error = broken
                if error is not None:
                    transport.abort(error=error)
                    return
        finally:
            net.unregister_event(sock, selectors.EVENT_READ)

    return read
