"""What all connections of one listener share, and the one clock hand that watches their deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.utils import formatdate
from math import inf
from typing import NamedTuple, Protocol

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

    @property
    def waiting(self) -> bool:
        """It is the caller's turn: nothing is being answered."""
        ...

    def expire(self, now: float) -> None: ...

    def shutdown(self) -> None: ...

    def abort(self) -> None: ...


class Room(NamedTuple):
    """`most`: connections at once; further ones are turned away, and `turned_away` is called for each.
    `evicts`: room is made instead, as long as there are connections on which nothing is being answered."""

    most: float = inf
    turned_away: Callable[[], None] | None = None
    evicts: bool = False


ANY = Room()


class Endpoint:
    """What all connections of one listener share."""

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        clock: Clock,
        refused: Callable[[Problem], None] | None = None,
        room: Room = ANY,
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.clock = clock
        self.refused = refused
        self.room = room
        self.heads = HeadParser(limits)
        self.turns = Turns()
        """For what connections leave over of what they received."""
        self.connections: set[Watched] = set()
        self.empty = asyncio.Event()
        self.empty.set()
        self.date_line = b""
        """For answers of our own: right to half a second while `watch` runs."""
        self._set_date()

    def admits(self) -> bool:
        """Whether one more connection has room. If not, it counts as turned away: close it."""
        room = self.room
        if not self.full:
            return True
        if room.evicts:
            waiting = [connection for connection in self.connections if connection.waiting]
            if waiting:
                longest = min(waiting, key=lambda connection: connection.deadline)
                longest.abort()
                self.connections.discard(longest)
                return True
        if room.turned_away is not None:
            room.turned_away()
        return False

    @property
    def full(self) -> bool:
        return len(self.connections) >= self.room.most

    def admit(self, connection: Watched, place: Watched | None = None) -> bool:
        """Let it join, if it has room: that of `place`, where it was admitted before."""
        if place is not None:
            self.connections.discard(place)
        elif not self.admits():
            return False
        self.join(connection)
        return True

    def join(self, connection: Watched) -> None:
        self.connections.add(connection)
        self.empty.clear()

    def leave(self, connection: Watched) -> None:
        """Harmless twice."""
        connections = self.connections
        connections.discard(connection)
        if not connections:
            self.empty.set()

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
