"""STEP 4: hand a request to the service, once, and say what came of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bufferproxy.deliver.balance import Balance
from bufferproxy.deliver.headers import outgoing
from bufferproxy.deliver.outcome import Outcome, outcome_of
from bufferproxy.http1.reply import Failure, Kind, Phase

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from bufferproxy.clock import Clock
    from bufferproxy.http1.client import Connection, Deadlines
    from bufferproxy.http1.pool import Pool
    from bufferproxy.http1.reply import Reply
    from bufferproxy.http1.target import Target
    from bufferproxy.records import Request


class Service:
    """A Deliverer: one pool for each target of a service. `deadlines.whole` is the service's `timeout`."""

    def __init__(
        self, pools: Sequence[Pool], *, deadlines: Deadlines, clock: Clock, preserve_host: bool = True
    ) -> None:
        if not pools:
            raise ValueError("a service needs a target")
        self.deadlines = deadlines
        self._pools: dict[Target, Pool] = {pool.target: pool for pool in pools}
        self._authorities = {target: target.authority for target in self._pools}
        self._turn = list(self._pools.values())
        self._balance = Balance(len(self._turn))
        self._clock = clock
        self._preserve_host = preserve_host

    def idle(self) -> Connection | None:
        """Where there are several targets each has its turn, so who asks has to `connect`."""
        return self._turn[0].idle() if len(self._turn) == 1 else None

    async def connect(self) -> Connection | Failure:
        """From the target whose turn it is; from the next one when that cannot be reached."""
        if len(self._turn) == 1:
            return await self._turn[0].acquire()
        failure = Failure(Phase.CONNECT, Kind.REFUSED, sent=False, detail="no target")
        for index in self._balance.order(self._clock.now()):
            found = await self._turn[index].acquire()
            if not isinstance(found, Failure):
                self._balance.worked(index)
                return found
            self._balance.failed(index, self._clock.now())
            failure = found
        return failure

    def ready(self, connection: Connection) -> bool:
        return connection.ready

    def attempt(self, connection: Connection, request: Request, number: int) -> Awaitable[Outcome]:
        """See Deliverer.attempt: the request is written when this returns."""
        target = connection.target
        head = outgoing(
            request,
            number,
            host=self._authorities[target],
            preserve_host=self._preserve_host,
            base=target.base,
        )
        answer = connection.exchange(
            head, request.body, head_request=request.head.startswith(b"HEAD "), deadlines=self.deadlines
        )
        return self._outcome(answer)

    async def _outcome(self, answer: asyncio.Future[Reply | Failure]) -> Outcome:
        return outcome_of(await answer, self._clock.wall())

    def release(self, connection: Connection) -> None:
        self._pools[connection.target].release(connection)

    async def close(self) -> None:
        await asyncio.gather(*(pool.close() for pool in self._turn))

    def __repr__(self) -> str:
        return f"<Service {self._turn} {self._balance}>"
