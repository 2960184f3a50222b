"""What all connections of one listener share, and the one clock hand that watches their deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.utils import formatdate
from typing import Protocol

from bufferproxy.clock import Clock
from bufferproxy.http1.exchange import Handler
from bufferproxy.http1.heads import HeadParser
from bufferproxy.http1.limits import Limits
from bufferproxy.http1.problems import Problem
from bufferproxy.http1.turns import Turns


class Watched(Protocol):
    """A connection, as its endpoint sees it."""

    deadline: float
    """By `Clock.now`: when `expire` is due."""

    def expire(self, now: float) -> None: ...

    def shutdown(self) -> None: ...

    def abort(self) -> None: ...


class Endpoint:
    """What all connections of one listener share."""

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        clock: Clock,
        refused: Callable[[Problem], None] | None = None,
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.clock = clock
        self.refused = refused
        self.heads = HeadParser(limits)
        self.turns = Turns()
        """For what connections leave over of what they received."""
        self.connections: set[Watched] = set()
        self.empty = asyncio.Event()
        self.empty.set()
        self.date_line = b""
        """For answers of our own: right to half a second while `watch` runs."""
        self._set_date()

    def _set_date(self) -> None:
        self.date_line = f"Date: {formatdate(self.clock.wall(), usegmt=True)}\r\n".encode()

    async def watch(self) -> None:
        """Keep the date, and the deadlines of all connections, until cancelled."""
        while True:
            await self.clock.sleep(self.limits.tick)
            self._set_date()
            now = self.clock.now()
            for connection in tuple(self.connections):
                if connection.deadline <= now:
                    connection.expire(now)

    def __repr__(self) -> str:
        return f"<Endpoint {len(self.connections)} connections>"
