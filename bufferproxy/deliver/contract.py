"""What the drain step needs of a delivery. The order of one attempt:

    connection = deliverer.idle()                  # if there is one, else:
    connection = await deliverer.connect()         # may take time, costs no token; a Failure has sent nothing
    ... wait for a token, then, in one turn of the loop:
    if deliverer.ready(connection):                # it may have gone stale in the meantime: connect anew
        ... take the token, check the lease ...
        outcome = deliverer.attempt(connection, request, number)     # written when this returns
    outcome = await outcome
    deliverer.release(connection)                  # always, whatever happened, also when cancelled

An outcome is a value; `attempt` raises only on cancellation. A cancelled attempt may have reached the
service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from bufferproxy.deliver.outcome import Outcome
    from bufferproxy.http1.client import Connection
    from bufferproxy.http1.reply import Failure
    from bufferproxy.records import Request


class Deliverer(Protocol):
    def idle(self) -> Connection | None:
        """One that is ready now, without asking anybody; None: `connect` may have one all the same."""
        ...

    async def connect(self) -> Connection | Failure:
        """A ready connection to one of the service's addresses, in at most the connect deadline."""
        ...

    def ready(self, connection: Connection) -> bool:
        """It can still be trusted: open, unused, not idle for too long."""
        ...

    def attempt(self, connection: Connection, request: Request, number: int) -> Awaitable[Outcome]:
        """Write attempt `number` (from 1) now, in this turn of the loop; the outcome within `timeout`."""
        ...

    def release(self, connection: Connection) -> None:
        """Give back what `connect` gave. An attempt still under way is cut off."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
