"""The connections of one service: to each address of each of its URLs, in turn.

Names are looked up beside the traffic, and addresses that were left out are tried beside it: no request waits
for either while there is another address to go to. Both happen when connections are made or swept, so a
service with nothing to do costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bufferproxy.deliver.balance import RoundRobin
from bufferproxy.deliver.names import Answer, NoAnswer, ResolvedName, greatest_age, retires_at
from bufferproxy.deliver.resolve import Resolve, system_resolve
from bufferproxy.http1.client import Connection
from bufferproxy.http1.dial import client_tls
from bufferproxy.http1.pool import Pool
from bufferproxy.http1.reply import Failure, Kind, Phase, ReplyLimits
from bufferproxy.observe.events import AddressTurned, Emit, LookUpFailed

if TYPE_CHECKING:
    import ssl

    from bufferproxy.clock import Clock
    from bufferproxy.http1.target import Target

STAGGER_SECONDS = 0.25
"""For which a connect is waited for, while there is another address to go to; it goes on beside that one.
RFC 8305 recommends this delay."""

Dial = asyncio.Task[Connection | Failure]

_SHUTTING_DOWN = Failure(Phase.CONNECT, Kind.CLOSED, sent=False, detail="shutting down")


class ResolvedTarget:
    """One URL of a service, and the pools of its addresses."""

    def __init__(self, number: int, target: Target) -> None:
        self.number = number
        self.target = target
        self.name = ResolvedName(target.host)
        self.pools: dict[str, Pool] = {}
        """By address."""
        self.look_up: asyncio.Task[None] | None = None
        """While it is under way."""

    def __repr__(self) -> str:
        return f"<ResolvedTarget {self.target} {self.name!r}>"


class Upstream:
    """`idle` or `acquire`, an exchange, `release`, whatever happened. The argument `idle` is how many unused
    connections it keeps to each address; `connect` is in seconds, for look-up, connect and TLS together."""

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        clock: Clock,
        idle: int,
        connect: float = 5.0,
        limits: ReplyLimits | None = None,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = system_resolve,
        service: str = "",
        emit: Emit = lambda _: None,
    ) -> None:
        """`service`: as events name it."""
        if not targets:
            raise ValueError("a service needs a target")
        self._clock = clock
        self._idle = idle
        self._connect = connect
        self._limits = limits
        # One for all pools: a context costs 50 ms and 300 KiB.
        self._tls = tls or (client_tls() if any(target.tls for target in targets) else None)
        self._resolve = resolve
        self._service = service
        self._emit = emit
        self._resolved = [ResolvedTarget(number, target) for number, target in enumerate(targets)]
        self._turns: RoundRobin[Pool] = RoundRobin(len(targets))
        self._gone: list[Pool] = []
        """Of addresses that their names do not have any more, until the last exchange there is over."""
        self._dials: dict[Dial, Pool] = {}
        self._closed = False
        for resolved in self._resolved:
            self._follow(resolved)

    def idle(self) -> Connection | None:
        """One to the address whose turn it is, that is ready now. None: `acquire` may wait for one."""
        pool = self._turns.first()
        if pool is None:
            return None
        connection = pool.idle()
        if connection is not None:
            self._turns.advance()
        return connection

    async def acquire(self) -> Connection | Failure:
        """One to the address whose turn it is; to the next one when it cannot be reached, or not soon."""
        ends_at = self._clock.now() + self._connect
        while True:
            await self._look_up(ends_at)
            if self._closed:
                return _SHUTTING_DOWN
            self.tend()
            pools = self._turns.order()
            if not pools:
                return self._unresolved()
            found = await self._first_of(pools, ends_at)
            if not any(pool.retired for pool in pools):
                return found
            # The name has moved meanwhile, and this may be about where it was.
            if isinstance(found, Connection):
                if found.pool is not None and not found.pool.retired:
                    return found
                self.release(found)

    def release(self, connection: Connection) -> None:
        """Give back what `idle` or `acquire` gave, at any time. An exchange still under way is cut off."""
        pool = connection.pool
        if pool is not None:
            pool.release(connection)

    def tend(self) -> None:
        """Ask for names that are due, and try addresses whose time out is over; neither is waited for."""
        if self._closed:
            return
        now = self._clock.now()
        self._ask(now)
        self._gone = [pool for pool in self._gone if not pool.empty]
        if self._turns.first() is not None:  # else requests try them all
            for pool in self._turns.trials(now):
                self._dial(pool, self._connect).add_done_callback(self._adopt)

    async def close(self) -> None:
        """Close every connection, those in use too; returns when their sockets are closed."""
        self._closed = True
        under_way: list[asyncio.Task[object]] = [*self._dials]
        under_way += [resolved.look_up for resolved in self._resolved if resolved.look_up is not None]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        pools = [*self._gone, *(pool for resolved in self._resolved for pool in resolved.pools.values())]
        await asyncio.gather(*(pool.close() for pool in pools))

    # --- names ---

    async def _look_up(self, ends_at: float) -> None:
        """Begin the look-ups that are due, and wait for those that have to be waited for."""
        while not self._closed:
            now = self._clock.now()
            self._ask(now)
            needed = self._turns.first() is None
            until = max(resolved.name.wait_until(now, needed=needed) for resolved in self._resolved)
            under_way = [resolved.look_up for resolved in self._resolved if resolved.look_up is not None]
            wait = min(until, ends_at) - now
            if wait <= 0 or not under_way:
                return
            await asyncio.wait(under_way, timeout=wait, return_when=asyncio.FIRST_COMPLETED)

    def _ask(self, now: float) -> None:
        for resolved in self._resolved:
            if resolved.name.due(now):
                resolved.name.asked(now)
                resolved.look_up = asyncio.ensure_future(self._learn(resolved))

    async def _learn(self, resolved: ResolvedTarget) -> None:
        told: Answer | NoAnswer = NoAnswer("the look-up was broken off")
        try:
            told = await self._resolve(resolved.target.host, resolved.target.port)
        except OSError as error:
            told = NoAnswer(str(error))
        finally:
            resolved.look_up = None
            resolved.name.learn(told, self._clock.now())
        if isinstance(told, Answer):
            self._follow(resolved)
        if told.detail:
            kept = bool(resolved.name.addresses)
            self._emit(LookUpFailed(self._service, resolved.target.host, told.detail, kept))

    def _follow(self, resolved: ResolvedTarget) -> None:
        """Connect to what its name stands for now, and to nothing else."""
        for address in [old for old in resolved.pools if old not in resolved.name.addresses]:
            pool = resolved.pools.pop(address)
            self._turns.remove(pool)
            pool.retire()
            self._gone.append(pool)
            for dial in [dial for dial, its in self._dials.items() if its is pool]:
                dial.cancel()
        for address in resolved.name.addresses:
            if address not in resolved.pools:
                pool = resolved.pools[address] = self._pool(resolved.target, address)
                self._turns.add(resolved.number, pool)

    def _pool(self, target: Target, address: str) -> Pool:
        return Pool(
            target,
            clock=self._clock,
            idle=self._idle,
            connect=self._connect,
            limits=self._limits,
            tls=self._tls,
            address=address,
            swept=self.tend,
        )

    def _unresolved(self) -> Failure:
        texts, kind = [], Kind.UNRESOLVED
        for resolved in self._resolved:
            detail = resolved.name.detail
            if not detail:
                kind, detail = Kind.TIMEOUT, f"not resolved within {self._connect:g} s"
            texts.append(f"{resolved.target.host}: {detail}")
        return Failure(Phase.CONNECT, kind, sent=False, detail="; ".join(texts))

    # --- connecting ---

    async def _first_of(self, pools: list[Pool], ends_at: float) -> Connection | Failure:
        """The first connection that is there. Pools are tried in their order, the next one when the last has
        failed or takes long; what comes too late for this caller waits for the next one."""
        dials: set[Dial] = set()
        failure = Failure(Phase.CONNECT, Kind.TIMEOUT, sent=False, detail="no address answered in time")
        try:
            for pool in pools:
                if (connection := pool.idle()) is not None:
                    return connection
                dials.add(self._dial(pool, ends_at - self._clock.now()))
                ended = await _first_to_end(dials, STAGGER_SECONDS)
                if isinstance(ended, Connection):
                    return ended
                if ended is None and pool is not pools[-1]:
                    self._turns.doubt(pool)
                failure = ended or failure
            while dials:  # each ends by `ends_at`
                ended = await _first_to_end(dials)
                if isinstance(ended, Connection):
                    return ended
                failure = ended or failure
            return failure
        finally:
            for dial in dials:
                dial.add_done_callback(self._adopt)

    def _dial(self, pool: Pool, within: float) -> Dial:
        """A connect that goes on whoever waits for it."""
        dial = asyncio.ensure_future(self._connect_to(pool, max(within, 0.0)))
        self._dials[dial] = pool
        dial.add_done_callback(self._dials.pop)
        return dial

    async def _connect_to(self, pool: Pool, within: float) -> Connection | Failure:
        resolved = next(resolved for resolved in self._resolved if resolved.target is pool.target)
        until = retires_at(self._clock.now(), greatest_age(resolved.name.ttl), self._clock.random())
        made = await pool.dial(within=within, retires_at=until)
        now = self._clock.now()
        if isinstance(made, Failure):
            resolved.name.doubt(now)
            if self._turns.failed(pool, now):
                self._tell(pool, made.detail)
        elif self._turns.worked(pool):
            self._tell(pool, "")
        return made

    def _tell(self, pool: Pool, trouble: str) -> None:
        """Of an address among others. That the only one cannot be reached is told of the whole service."""
        if len(self._turns) > 1:
            place = f"{pool.address} port {pool.target.port}"
            self._emit(AddressTurned(self._service, place, not trouble, trouble))

    def _adopt(self, dial: Dial) -> None:
        """Nobody waits for it any more."""
        if not dial.cancelled() and isinstance(made := dial.result(), Connection):
            self.release(made)

    def __repr__(self) -> str:
        return f"<Upstream {self._resolved} {self._turns!r}>"


async def _first_to_end(dials: set[Dial], wait: float | None = None) -> Connection | Failure | None:
    """What the first of `dials` to end came to, and takes it out; None when none does in `wait` seconds."""
    await asyncio.wait(dials, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
    ended = [dial for dial in dials if dial.done()]
    # Of several a connection, so that no more are made.
    for dial in sorted(ended, key=_failed)[:1]:
        dials.discard(dial)
        return _SHUTTING_DOWN if dial.cancelled() else dial.result()
    return None


def _failed(dial: Dial) -> bool:
    return dial.cancelled() or isinstance(dial.result(), Failure)
