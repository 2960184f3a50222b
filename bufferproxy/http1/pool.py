"""Connections to one address, kept between exchanges.

A connection is handed out again only when the last exchange left it clean, nothing came on it since, it was
used recently, and it is not too old. What is still in doubt (closed by the service while the request was
under way) shows as a Failure with phase `first_byte` and kind `closed`, and is for the caller to judge.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from bufferproxy.http1.client import IDLE, Connection
from bufferproxy.http1.dial import client_tls, dial
from bufferproxy.http1.reply import Failure, Kind, Phase, ReplyLimits
from bufferproxy.http1.turns import Turns

if TYPE_CHECKING:
    import ssl

    from bufferproxy.clock import Clock
    from bufferproxy.http1.target import Target

_FAREWELL = 1.0
"""Seconds that closing waits for the other sides before it cuts."""


class Pool:
    """`acquire`, an exchange, `release`, whatever happened. `idle` is how many unused connections it keeps;
    how many are in use is the caller's to bound. `connect` is in seconds, TLS included. `address`: where to
    connect to instead of asking what the target's host stands for. `swept` is called every few seconds while
    connections are used."""

    def __init__(
        self,
        target: Target,
        *,
        clock: Clock,
        idle: int,
        connect: float = 5.0,
        limits: ReplyLimits | None = None,
        tls: ssl.SSLContext | None = None,
        address: str | None = None,
        swept: Callable[[], None] | None = None,
    ) -> None:
        self.target = target
        self.address = address
        self._clock = clock
        self._keep = idle
        self._connect = connect
        self._limits = limits or ReplyLimits()
        self._tls = (tls or client_tls()) if target.tls else None
        self._swept = swept
        self._turns = Turns()
        self._idle: list[Connection] = []  # the one used last at the end
        self._all: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def retired(self) -> bool:
        """Or closed: it begins nothing any more."""
        return self._closed

    @property
    def empty(self) -> bool:
        """No connection is open."""
        return not self._all

    def idle(self) -> Connection | None:
        """A connection that is ready now: the one used last, so that those not needed run out of time."""
        while self._idle:
            connection = self._idle.pop()
            if connection.ready:
                return connection
            connection.close()
        return None

    async def acquire(self) -> Connection | Failure:
        """An idle connection, or a new one."""
        connection = self.idle()
        return connection if connection is not None else await self.dial()

    async def dial(
        self, *, within: float | None = None, retires_at: float = math.inf
    ) -> Connection | Failure:
        """A new connection, in `within` seconds instead of `connect`. It begins no exchange from `retires_at`
        on."""
        if self._closed:
            return Failure(Phase.CONNECT, Kind.CLOSED, sent=False, detail="shutting down")
        made = await dial(
            self.target,
            address=self.address,
            within=self._connect if within is None else within,
            clock=self._clock,
            limits=self._limits,
            tls=self._tls,
            turns=self._turns,
        )
        if isinstance(made, Connection):
            made.pool = self
            made.retire(retires_at)
            self._all.add(made)
            made.lost.add_done_callback(lambda _: self._all.discard(made))
            if self._closed:
                made.abort()
        return made

    def release(self, connection: Connection) -> None:
        """Give back what `acquire` or `dial` gave, at any time. An exchange still under way is cut off."""
        if connection.busy:
            connection.abort()
        elif self._closed or not connection.ready or len(self._idle) >= self._keep:
            connection.close()
        else:
            self._idle.append(connection)
            if self._sweeper is None:
                self._sweeper = asyncio.get_running_loop().call_later(IDLE, self._sweep)

    def retire(self) -> None:
        """Begin no exchange any more. What is under way goes on to its end."""
        self._closed = True
        self._let_go()
        for connection in self._all:
            connection.retire(-math.inf)

    def _sweep(self) -> None:
        """Close what is too old to be used: a quiet service keeps no connections for nothing."""
        self._sweeper = None
        for connection in [old for old in self._idle if not old.ready]:
            self._idle.remove(connection)
            connection.close()
        if self._idle:
            self._sweeper = asyncio.get_running_loop().call_later(IDLE, self._sweep)
        if self._swept is not None:
            self._swept()

    def _let_go(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        while self._idle:
            self._idle.pop().close()

    async def close(self) -> None:
        """Close every connection, those in use too; returns when their sockets are closed."""
        self._closed = True
        self._let_go()
        leaving = list(self._all)
        for connection in leaving:
            connection.close()
        if leaving:
            await asyncio.wait([connection.lost for connection in leaving], timeout=_FAREWELL)
        for connection in leaving:
            connection.abort()
        for connection in leaving:
            await connection.lost

    def __repr__(self) -> str:
        still_open = sum(not connection.lost.done() for connection in self._all)
        where = "" if self.address is None else f" at {self.address}"
        return f"<Pool {self.target}{where} idle={len(self._idle)} open={still_open}>"
