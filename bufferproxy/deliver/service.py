"""STEP 4: hand a request to the service, once, and say what came of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bufferproxy.deliver.headers import outgoing
from bufferproxy.deliver.outcome import Outcome, outcome_of

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from bufferproxy.clock import Clock
    from bufferproxy.deliver.upstream import Upstream
    from bufferproxy.http1.client import Connection, Deadlines
    from bufferproxy.http1.reply import Failure, Reply
    from bufferproxy.records import Request


class Service:
    """A Deliverer over `upstream`. `deadlines.whole` is the service's `timeout`."""

    def __init__(
        self, upstream: Upstream, *, deadlines: Deadlines, clock: Clock, preserve_host: bool = True
    ) -> None:
        self.deadlines = deadlines
        self._upstream = upstream
        self._clock = clock
        self._preserve_host = preserve_host

    def idle(self) -> Connection | None:
        return self._upstream.idle()

    async def connect(self) -> Connection | Failure:
        return await self._upstream.acquire()

    def ready(self, connection: Connection) -> bool:
        return connection.ready

    def attempt(self, connection: Connection, request: Request, number: int) -> Awaitable[Outcome]:
        """See Deliverer.attempt: the request is written when this returns."""
        head = outgoing(
            request,
            number,
            host=connection.authority,
            preserve_host=self._preserve_host,
            base=connection.target.base,
        )
        answer = connection.exchange(
            head, request.body, head_request=request.head.startswith(b"HEAD "), deadlines=self.deadlines
        )
        return self._outcome(answer)

    async def _outcome(self, answer: asyncio.Future[Reply | Failure]) -> Outcome:
        return outcome_of(await answer, self._clock.wall())

    def release(self, connection: Connection) -> None:
        self._upstream.release(connection)

    async def close(self) -> None:
        await self._upstream.close()

    def __repr__(self) -> str:
        return f"<Service {self._upstream!r}>"
