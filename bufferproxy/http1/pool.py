"""Connections to one target, kept between exchanges.

A connection is handed out again only when the last exchange left it clean, nothing came on it since, and it
was used recently. What is still in doubt (closed by the service while the request was under way) shows as a
Failure with phase `first_byte` and kind `closed`, and is for the caller to judge.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from bufferproxy.http1.client import IDLE, Connection
from bufferproxy.http1.dial import Resolve, SharedResolve, client_tls, dial, system_resolve
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
    how many are in use is the caller's to bound. `connect` is in seconds, resolving and TLS included."""

    def __init__(
        self,
        target: Target,
        *,
        clock: Clock,
        idle: int,
        connect: float = 5.0,
        limits: ReplyLimits | None = None,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = system_resolve,
    ) -> None:
        self.target = target
        self._clock = clock
        self._keep = idle
        self._connect = connect
        self._limits = limits or ReplyLimits()
        self._tls = (tls or client_tls()) if target.tls else None
        self._resolve = SharedResolve(resolve)
        self._turns = Turns()
        self._idle: deque[Connection] = deque()  # the one used last on the right
        self._all: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

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
        if connection is not None:
            return connection
        if self._closed:
            return Failure(Phase.CONNECT, Kind.CLOSED, sent=False, detail="shutting down")
        made = await dial(
            self.target,
            within=self._connect,
            clock=self._clock,
            limits=self._limits,
            tls=self._tls,
            resolve=self._resolve,
            turns=self._turns,
        )
        if isinstance(made, Connection):
            self._all.add(made)
            made.lost.add_done_callback(lambda _: self._all.discard(made))
            if self._closed:
                made.abort()
        return made

    def release(self, connection: Connection) -> None:
        """Give back what `acquire` gave, at any time. An exchange still under way is cut off."""
        if connection.busy:
            connection.abort()
        elif self._closed or not connection.ready or len(self._idle) >= self._keep:
            connection.close()
        else:
            self._idle.append(connection)
            if self._sweeper is None:
                self._sweeper = asyncio.get_running_loop().call_later(IDLE, self._sweep)

    def _sweep(self) -> None:
        """Close what is too old to be used, lest a quiet service keeps connections for nothing."""
        self._sweeper = None
        for connection in [old for old in self._idle if not old.ready]:
            self._idle.remove(connection)
            connection.close()
        if self._idle:
            self._sweeper = asyncio.get_running_loop().call_later(IDLE, self._sweep)

    async def close(self) -> None:
        """Close every connection, those in use too; returns when their sockets are closed."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._idle.clear()
        await self._resolve.close()
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
        return f"<Pool {self.target} idle={len(self._idle)} open={still_open}>"
