"""One attempt: the way from a taken request to the service's answer.

Between the token and the write nothing is awaited but what is checked again: that the partition is still
ours, that the request has not expired, that its key has not had its turn, that the connection still stands.
"""

from __future__ import annotations

import asyncio
import math
from typing import Protocol

from bufferproxy.clock import Clock
from bufferproxy.deliver.contract import Deliverer
from bufferproxy.deliver.outcome import NotSent
from bufferproxy.drain.announcer import Announcer
from bufferproxy.drain.flights import Flights
from bufferproxy.drain.lanes import Item
from bufferproxy.drain.openings import CAREFUL
from bufferproxy.drain.pacer import Pacer
from bufferproxy.drain.plan import Plan
from bufferproxy.drain.repeats import Repeats, none_was
from bufferproxy.http1.client import Connection
from bufferproxy.http1.reply import Failure
from bufferproxy.observe.events import Attempted, Emit
from bufferproxy.policy.breaker import forgives
from bufferproxy.policy.bucket import TokenBucket
from bufferproxy.policy.budget import stretched
from bufferproxy.policy.key_rate import KeyRate
from bufferproxy.policy.tally import Tally
from bufferproxy.records import Request
from bufferproxy.settle.decide import decide, ending_of, result_of
from bufferproxy.settle.disposition import Ack, DeadLetter, Disposition, Expire, Release, Repeat, Retry, Wait


class Owner(Protocol):
    def may_send(self, item: Item) -> bool:
        """Its partition is ours, and nobody has asked for it back."""
        ...


class Sender:
    """One service's. `owner` is asked right before each send."""

    def __init__(
        self, plan: Plan, deliverer: Deliverer, pacer: Pacer, flights: Flights, clock: Clock, emit: Emit
    ) -> None:
        self._plan = plan
        self._deliverer = deliverer
        self._pacer = pacer
        self._flights = flights
        self._clock = clock
        self._emit = emit
        self.tally = Tally()
        """What came of the attempts since somebody last asked."""
        self.flying = self.most = 0
        """Attempts in flight; the most since somebody last asked."""
        self.sends = 0
        self.retries = TokenBucket(math.inf, 1, clock.now())
        """What this replica may send of what was sent before."""
        self._key_rate = None if plan.key_rate is None else KeyRate(plan.key_rate)
        self.owner: Owner | None = None
        """None: nothing is sent (any more)."""
        self.repeats = Repeats(none_was, clock)
        """What tells a redriven request from its repeats; set by who assembles."""
        self.announcer: Announcer | None = None

    async def attempt(self, item: Item) -> Disposition:
        """Everything up to the service's answer. Updates `item.request` with what the attempt used up."""
        if item.request.generation and await self.repeats.has(item):
            return Repeat()
        if self._expired(item.request):
            return Expire()
        if (wait := self._key_waits(item)) > 0.0:
            return Wait(wait)
        if item.request.again and (wait := self.retries.take(self._clock.now())) > 0.0:
            return Wait(min(wait, 1.0), of_key=False)  # retries have used up their share: fresh ones go first
        connection = await self._approach()
        if connection is None:
            return Release()
        try:
            if item.window.starts > CAREFUL and self.announcer is not None:
                taken = self._clock.now()
                await self.announcer.announce(item)
                await self._pacer.still_turn(taken)
            instead = self._instead(item, connection)
            if instead is not None:
                self._pacer.give_back()
                return instead
            # From here to the write inside `attempt` nothing is awaited.
            return await self._send(item, connection)
        finally:
            self._deliverer.release(connection)
            self._pacer.landed()

    def _instead(self, item: Item, connection: Connection) -> Disposition | None:
        """What has come to the item while it waited for its turn; None: send it."""
        if item.over or self.owner is None or not self.owner.may_send(item) or not self._pacer.holds():
            return Release()
        if self._expired(item.request):
            return Expire()
        if (wait := self._key_waits(item)) > 0.0:
            return Wait(wait)  # another of its key went ahead meanwhile
        # The service may have closed it while we waited.
        return None if self._deliverer.ready(connection) else Release()

    async def _approach(self) -> Connection | None:
        """A ready connection, and a token taken; None when the service cannot be reached."""
        pacer = self._pacer
        if not pacer.connects_now():
            await pacer.may_connect()
        connection = None
        try:
            connection = self._deliverer.idle()
            if connection is None:
                connection = await self._connect()
            else:
                pacer.reached()
            if connection is not None and not pacer.turns_now():
                await pacer.turn()
        except BaseException:
            if connection is not None:
                self._deliverer.release(connection)
            pacer.landed()
            raise
        finally:
            pacer.leave()
        if connection is None:
            pacer.landed()
        return connection

    async def _connect(self) -> Connection | None:
        """A ready connection; None when there is none, and then the service rests."""
        detail = "cancelled"
        started = self._clock.now()
        try:
            connection = await self._deliverer.connect()
            if not isinstance(connection, Failure):
                self._pacer.reached()
                return connection
            detail = connection.detail
        except asyncio.CancelledError:
            self._pacer.unreachable(detail)  # we may have been the probe that others wait for
            raise
        self._pacer.unreachable(detail)
        self._emit(Attempted(self._plan.service, "connect", self._clock.now() - started, None))
        return None

    async def _send(self, item: Item, connection: Connection) -> Disposition:
        """One attempt, and what it comes to. `item.request` counts it while it is under way."""
        request, started = item.request, self._clock.now()
        if self._key_rate is not None:
            self._key_rate.sent(request.key, started)
        counted = request.sent_again()
        queued = None if request.sends else self._clock.wall() - request.accepted_at / 1000
        self._pacer.sent()
        self._flights.start(item)
        era = self.tally.sent(again=request.again)
        self.sends += 1
        self.flying = flying = self.flying + 1
        if flying > self.most:
            self.most = flying
        try:
            outcome = await self._deliverer.attempt(connection, request, counted.sends)
        finally:
            self.flying -= 1
        disposition = decide(outcome, counted.attempts, self._plan.retry, self._clock.random())
        # What the machine slept through meanwhile was not the service's: its latency decides what it gets.
        seconds = min(self._clock.now() - started, self._plan.timeout)
        if isinstance(outcome, NotSent):
            self._pacer.unsent()
            self.tally.unsent(again=request.again)
        else:
            self.tally.ended(ending_of(outcome, disposition), seconds, era)
            item.request = counted
            if not isinstance(disposition, Ack):
                disposition = self._forgiven(item, request.attempts, disposition)
        self._emit(Attempted(self._plan.service, result_of(outcome, disposition), seconds, queued))
        return disposition

    def _forgiven(self, item: Item, before: int, disposition: Disposition) -> Disposition:
        """What is the fault of the service uses no attempt up: `before` is how many were before this one."""
        if isinstance(disposition, Release):
            item.request = item.request._replace(attempts=before)
            return disposition
        regime, request = self._pacer.regime, item.request
        spent = isinstance(disposition, DeadLetter) and disposition.reason == "attempts"
        if not isinstance(disposition, Retry) and not spent:
            return disposition
        if forgives(regime.forgiving, sends=request.sends, attempts=before):
            item.request = request._replace(attempts=before)
            if isinstance(disposition, DeadLetter):
                disposition = Retry(self._plan.retry.first, "breaker", disposition.answer)
        if isinstance(disposition, Retry):
            self.tally.planned += 1
            delay = stretched(disposition.delay, regime.retry_wait, self._clock.random())
            return disposition._replace(delay=delay)
        return disposition

    def _key_waits(self, item: Item) -> float:
        return 0.0 if self._key_rate is None else self._key_rate.wait(item.request.key, self._clock.now())

    def _expired(self, request: Request) -> bool:
        return request.expires_at is not None and self._clock.wall() * 1000 >= request.expires_at
