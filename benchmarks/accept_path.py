"""What accepting one request costs on the event loop, without a socket and without a log: ns of CPU.

    python -m benchmarks.accept_path [REQUESTS]

The whole path of a request runs, from the bytes a caller sent to the bytes of its 202; only the transport
and the log are stand-ins that do nothing. So the figure hardly depends on what else the machine does. Prints
JSON: `same head` is a caller that repeats itself, `new heads` one whose requests have a traceparent each.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import uvloop

from bufferproxy.accept.admission import Limits as BacklogLimits
from bufferproxy.accept.backlog import Backlog
from bufferproxy.accept.front import Front, Terms
from bufferproxy.accept.handler import Intake
from bufferproxy.accept.routing import Match, Router
from bufferproxy.clock import SystemClock
from bufferproxy.http1.endpoint import Endpoint
from bufferproxy.http1.limits import Limits
from bufferproxy.http1.server import Connection, protocol_class
from bufferproxy.log.contract import Appended, Done, LogWriter
from bufferproxy.log.observed import ObservedLog
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.observe.events import Events
from bufferproxy.observe.meters import Meters
from bufferproxy.records import Entry, Partition, Position
from bufferproxy.results.watchers import Watchers
from bufferproxy.wiring import COLLECT

REQUESTS = 50_000
CONNECTIONS = 64
"""Requests between two commits: each has a connection of its own, as with the load of `accept`."""
ROUNDS = 5
BODY = b"x" * 512
SERVICE = "service"
HEAD = (
    "POST /x HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\n"
    "User-Agent: benchmark/1.0\r\nAccept: */*\r\n{extra}Content-Length: 512\r\n\r\n"
)


class Silence(asyncio.Transport):
    """A transport that takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = b""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 50_000) if name == "peername" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.taken = bytes(data)

    def get_write_buffer_size(self) -> int:
        return 0


class Forgetful(LogWriter):
    """A log that keeps nothing: `commit` tells all who submitted that it did."""

    durability = "none"

    def __init__(self) -> None:
        self._waiting: deque[tuple[Partition, Done]] = deque()
        self._end = 0

    def submit(self, partition: Partition, entry: Entry, done: Callable[[Appended], None]) -> None:
        self._waiting.append((partition, done))

    def partitions(self, topic: str) -> int:
        return 1

    def commit(self) -> None:
        waiting = self._waiting
        while waiting:
            partition, done = waiting.popleft()
            self._end += 1
            done(Position(partition, self._end))


def terms() -> Terms:
    limits = BacklogLimits(requests=10**12, size=1 << 60, wait=inf)
    return Terms(
        1 << 20, reply=0.0, safe=30.0, expire=3600.0, held=2000, limits=limits, order="none", key=None
    )


def plane(log: Forgetful) -> Callable[[], Connection]:
    """The data plane of one service, as the wiring makes it."""
    clock, events = SystemClock(), Events()
    Meters([SERVICE]).subscribe(events)
    topics = ServiceTopics.of(SERVICE)
    front = Front(SERVICE, topics, (Partition(topics.requests, 0),), terms(), Backlog(1000.0, exact=True))
    observed = ObservedLog(log, clock, events.emit)  # type: ignore[arg-type] # it only writes
    intake = Intake(Router([(Match(), front)]), observed, Watchers(), b"bufferproxy-00", clock, events.emit)
    return protocol_class(Endpoint(intake, Limits(), clock))


async def measured(requests: list[bytes], take: Callable[[list[bytes]], Awaitable[None]]) -> float:
    """The best of some rounds: what disturbs only adds."""
    best = inf
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        await take(requests)
        best = min(best, (time.process_time_ns() - began) / len(requests))
    return round(best)


async def main(count: int) -> None:
    gc.freeze()
    gc.set_threshold(*COLLECT)
    log = Forgetful()
    make = plane(log)
    connections = []
    for _ in range(CONNECTIONS):
        connection = make()
        transport = Silence()
        connection.connection_made(transport)
        connections.append(connection)

    async def accept(requests: list[bytes]) -> None:
        for first in range(0, len(requests), CONNECTIONS):
            for connection, data in zip(connections, requests[first : first + CONNECTIONS], strict=False):
                connection.data_received(data)
            log.commit()
            await asyncio.sleep(0)  # what is done once a turn is part of it

    same = HEAD.format(extra="").encode() + BODY
    new = [
        HEAD.format(extra=f"traceparent: 00-{n:032x}-{n:016x}-01\r\n").encode() + BODY for n in range(count)
    ]
    await accept([same] * CONNECTIONS)
    assert transport.taken.startswith(b"HTTP/1.1 202 "), transport.taken
    found = {
        "same head": await measured([same] * count, accept),
        "new heads": await measured(new, accept),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS))
