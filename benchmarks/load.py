"""Callers: `connections` keep-alive connections that send the same POST again and again.

    python -m benchmarks.load URL SECONDS CONNECTIONS [RATE] [HEADER]

Closed loop without a rate (each connection sends when it was answered), open loop with one (requests begin at
their time, whether or not earlier ones were answered, up to the connections there are). Prints JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter, deque
from typing import cast
from urllib.parse import urlsplit

import uvloop

BODY = b"x" * 512


class Caller(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self.began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self) -> None:
        self.began = time.perf_counter()
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        self._buffer = buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = buffer.find(b"ontent-") + 7  # either case: ours, and uvicorn's
        if buffer[at : at + 7] != b"Length:" and buffer[at : at + 7] != b"length:":
            at = buffer.lower().find(b"content-length:") + 8
        length = int(buffer[at + 7 : buffer.find(b"\r\n", at)])
        if len(buffer) < end + 4 + length:
            return
        self._buffer = b""
        self._load.answered(self, buffer[9:12])


class Load:
    def __init__(self, url: str, seconds: float, connections: int, rate: float, header: str) -> None:
        self._parts = urlsplit(url)
        extra = f"{header}\r\n" if header else ""
        self.request = (
            f"POST {self._parts.path or '/'} HTTP/1.1\r\nHost: {self._parts.netloc}\r\n{extra}"
            f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        ).encode() + BODY
        self._seconds = seconds
        self._connections = connections
        self._rate = rate
        self._until = 0.0
        self._idle: deque[Caller] = deque()
        self._latencies: list[float] = []
        self._statuses: Counter[str] = Counter()

    async def run(self) -> dict[str, object]:
        loop = asyncio.get_running_loop()
        callers = []
        for _ in range(self._connections):
            _, caller = await loop.create_connection(
                lambda: Caller(self), self._parts.hostname, self._parts.port
            )
            callers.append(caller)
        began = time.perf_counter()
        self._until = began + self._seconds
        if self._rate:
            self._idle.extend(callers)
            sent = 0
            while (now := time.perf_counter()) < self._until:
                while sent < (now - began) * self._rate and self._idle:
                    self._idle.popleft().send()
                    sent += 1
                await asyncio.sleep(0.001)
        else:
            for caller in callers:
                caller.send()
            await asyncio.sleep(self._seconds)
        return self._told(time.perf_counter() - began)

    def answered(self, caller: Caller, status: bytes) -> None:
        now = time.perf_counter()
        self._latencies.append(now - caller.began)
        self._statuses[status.decode()] += 1
        if self._rate:
            self._idle.append(caller)
        elif now < self._until:
            caller.send()

    def _told(self, elapsed: float) -> dict[str, object]:
        ordered = sorted(self._latencies)
        count = len(ordered)
        return {
            "per_second": round(count / elapsed, 1),
            "p50_ms": round(ordered[count // 2] * 1000, 3) if count else None,
            "p99_ms": round(ordered[count * 99 // 100] * 1000, 3) if count else None,
            "statuses": dict(self._statuses),
        }


if __name__ == "__main__":
    arguments = [*sys.argv[1:], *["", "", ""]]
    load = Load(arguments[0], float(arguments[1]), int(arguments[2]), float(arguments[3] or 0), arguments[4])
    print(json.dumps(uvloop.run(load.run())))
