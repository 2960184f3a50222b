"""A service that writes down what reaches it, in a process of its own: `python -m bufferproxy.testing.recorder`.

It prints its port, answers every request, and keeps for each the moment its first byte was read, its id, its
attempt, its target and its body's digest. `GET /_recorder/arrivals` hands them out; `POST /_recorder/mode`
sets how it answers: `{"status": 200, "delay": 0.0, "headers": "", "body": ""}`.

Arrivals are stamped where they are read, so a loop that lags would move them; it measures its own lag, and
`GET /_recorder/lag` tells the worst.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from typing import Any, ClassVar

import uvloop

OWN = b"/_recorder/"


class Recorder(asyncio.Protocol):
    arrivals: ClassVar[list[tuple[float, str, int, str, str, str]]] = []
    """(seconds since the epoch, id, attempt, target, digest of the body, key)."""
    mode: ClassVar[dict[str, Any]] = {"status": 200, "delay": 0.0, "headers": "", "body": "ok"}
    lag: ClassVar[list[float]] = [0.0]

    def __init__(self) -> None:
        self._buffer = b""
        self._first = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._buffer:
            self._first = time.time()
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            fields = _fields(head)
            length = int(fields.get(b"content-length", 0))
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            self._take(head, fields, body)
            self._first = time.time()

    def _take(self, head: bytes, fields: dict[bytes, bytes], body: bytes) -> None:
        method, target, _ = head.split(b"\r\n", 1)[0].split(b" ", 2)
        if target.startswith(OWN):
            self._own(method, target, body)
            return
        id_ = fields.get(b"bufferproxy-id", b"").decode()
        attempt = int(fields.get(b"bufferproxy-attempt", 0))
        key = fields.get(b"x-key", b"").decode()
        digest = hashlib.sha256(body).hexdigest()[:16]
        self.arrivals.append((self._first, id_, attempt, target.decode("latin-1"), digest, key))
        mode = self.mode
        if mode["delay"]:
            asyncio.get_running_loop().call_later(mode["delay"], self._answer, mode)
        else:
            self._answer(mode)

    def _answer(self, mode: dict[str, Any]) -> None:
        body = str(mode["body"]).encode()
        head = f"HTTP/1.1 {mode['status']} X\r\n{mode['headers']}Content-Length: {len(body)}\r\n\r\n"
        self._write(head.encode() + body)

    def _own(self, method: bytes, target: bytes, body: bytes) -> None:
        name = target.removeprefix(OWN)
        found: object = None
        if method == b"POST" and name == b"mode":
            Recorder.mode = {**self.mode, **json.loads(body)}
        elif method == b"POST" and name == b"forget":
            self.arrivals.clear()
            self.lag[0] = 0.0
        elif name == b"arrivals":
            found = self.arrivals
        elif name == b"count":
            found = len(self.arrivals)
        elif name == b"lag":
            found = self.lag[0]
        answer = json.dumps(found).encode()
        self._write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _fields(head: bytes) -> dict[bytes, bytes]:
    fields = {}
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        fields[name.lower()] = value.strip()
    return fields


async def _watch_lag() -> None:
    while True:
        before = time.monotonic()
        await asyncio.sleep(0.005)
        Recorder.lag[0] = max(Recorder.lag[0], time.monotonic() - before - 0.005)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Recorder, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - who started us reads it
    await _watch_lag()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
