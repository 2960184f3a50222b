"""The sentence: fetch -> lane -> pace -> deliver -> decide -> settle -> commit.

A fixed set of deliverers, none per request. Between a token and the write there is nothing but the check
that the partition is still ours. Every fetched record ends in exactly one of: settled, put back, or given up
because its partition has left us; `_deliver` sees to that in one `finally`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from bufferproxy.clock import Clock
from bufferproxy.deliver.contract import Deliverer
from bufferproxy.deliver.outcome import NotSent
from bufferproxy.drain.committer import Committer
from bufferproxy.drain.delays import Delays
from bufferproxy.drain.flights import Flights
from bufferproxy.drain.holding import Gate, Holding
from bufferproxy.drain.lanes import FreeLane, Item, KeyedLanes
from bufferproxy.drain.leases import Leases
from bufferproxy.drain.pacer import Pacer
from bufferproxy.drain.plan import Plan
from bufferproxy.drain.repeats import Repeats, none_was
from bufferproxy.envelope import DELAYED, REQUESTS, request_of, service_number
from bufferproxy.errors import EnvelopeError, LogUnavailable
from bufferproxy.http1.client import Connection
from bufferproxy.http1.reply import Failure
from bufferproxy.log.contract import LogReader
from bufferproxy.observe.events import Attempted, Emit
from bufferproxy.records import Partition, Record, Request
from bufferproxy.settle.decide import decide, result_of
from bufferproxy.settle.disposition import Ack, Disposition, Expire, Release, Repeat, Retry
from bufferproxy.settle.settler import Fate, Settler


class Worker:
    """Drains one service. `leases` is what its reader must tell."""

    def __init__(
        self, plan: Plan, deliverer: Deliverer, pacer: Pacer, settler: Settler, clock: Clock, emit: Emit
    ) -> None:
        self.plan = plan
        self._deliverer = deliverer
        self._pacer = pacer
        self._settler = settler
        self._clock = clock
        self._emit = emit
        self._number = service_number(plan.service)
        self._lanes = KeyedLanes(single=plan.order == "strict") if plan.keyed else FreeLane()
        self._holding = Holding(plan.bounds)
        self._delays = Delays(clock, self._lanes.offer, self._hop)
        self._flights = Flights()
        self.repeats = Repeats(none_was, clock)
        """What tells a redriven request from its repeats; set by who assembles."""
        self.leases = Leases(plan, self._holding, self._flights, pacer, self._forget, emit)
        self._stopping = False
        self._taken = 0
        """Out of the lanes, and not concluded."""
        self.progress_at = clock.now()
        """When this worker last fetched or settled something, or had nothing to do."""

    # --- the sentence ---

    async def run(self, reader: LogReader) -> None:
        """Until cancelled."""
        self._holding.gate = Gate(reader.pause, reader.resume)
        committer = self.leases.committer = Committer(self._holding, reader, self._clock)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fetch(reader))
            group.create_task(committer.run())
            group.create_task(self._delays.run())
            group.create_task(self.leases.follow_members(reader, self._clock))
            for _ in range(self.plan.concurrency):
                group.create_task(self._deliver())

    async def stop(self, grace: float) -> None:
        """Send nothing more; wait for what is in flight, at most `grace` seconds; commit."""
        self._stopping = True
        await self._flights.wait_landed(set(self._holding), grace)
        if self.leases.committer is not None:
            await self.leases.committer.commit()

    async def _fetch(self, reader: LogReader) -> None:
        while not self._stopping:
            try:
                records = await reader.fetch()
            except LogUnavailable:
                await self._clock.sleep(0.5)
                continue
            self.progress_at = self._clock.now()
            for record in records:
                self._take_in(record, reader.after(record))

    def _take_in(self, record: Record, after: int) -> None:
        window = self._holding.begin(record, after)
        if window is None:
            return
        came_due = record.partition.topic == self.plan.topics.delayed
        try:
            request = request_of(record, self._number, DELAYED if came_due else REQUESTS)
        except EnvelopeError as error:

            def quarantined() -> None:
                self._holding.settle(record.partition, record.offset, window)

            self._settler.quarantine(record, str(error), quarantined)
            return
        item = Item(request, window, due=came_due)
        (self._delays.hold if came_due else self._lanes.offer)(item)

    async def _deliver(self) -> None:
        while not self._stopping:
            item = await self._lanes.take()
            self._taken += 1
            disposition: Disposition = Release()
            try:
                disposition = await self._attempt(item)
            finally:
                self._taken -= 1
                self._conclude(item, disposition)

    async def _attempt(self, item: Item) -> Disposition:
        """Everything up to the service's answer. Updates `item.request` with what the attempt used up."""
        if item.request.generation and await self.repeats.has(item):
            return Repeat()
        if self._expired(item.request):
            return Expire()
        connection = await self._approach()
        if connection is None:
            return Release()
        try:
            instead = self._instead(item, connection)
            if instead is not None:
                self._pacer.give_back()
                return instead
            # From here to the write inside `attempt` nothing is awaited.
            return await self._send(item, connection)
        finally:
            self._deliverer.release(connection)

    def _instead(self, item: Item, connection: Connection) -> Disposition | None:
        """What has come to the item while it waited for its turn; None: send it."""
        if self._stopping or not self.leases.may_send(item):
            return Release()
        if self._expired(item.request):
            return Expire()
        # The service may have closed it while we waited.
        return None if self._deliverer.ready(connection) else Release()

    async def _approach(self) -> Connection | None:
        """A ready connection, and a token taken; None when the service cannot be reached."""
        pacer = self._pacer
        if not pacer.connects_now():
            await pacer.may_connect()
        try:
            connection = self._deliverer.idle()
            if connection is None:
                connection = await self._connect()
            if connection is not None and not pacer.turns_now():
                try:
                    await pacer.turn()
                except BaseException:
                    self._deliverer.release(connection)
                    raise
            return connection
        finally:
            pacer.leave()

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
        self._emit(Attempted(self.plan.service, "connect", self._clock.now() - started, None))
        return None

    async def _send(self, item: Item, connection: Connection) -> Disposition:
        """One attempt, and what it comes to. `item.request` counts it while it is under way."""
        request, started = item.request, self._clock.now()
        counted = request.sent_again()
        queued = None if request.sends else self._clock.wall() - request.accepted_at / 1000
        self._flights.start(item)
        outcome = await self._deliverer.attempt(connection, request, counted.sends)
        disposition = decide(outcome, counted.attempts, self.plan.retry, self._clock.random())
        if isinstance(outcome, NotSent):
            self._pacer.give_back()
        elif isinstance(disposition, Release):
            item.request = counted._replace(attempts=request.attempts)
        else:
            item.request = counted
        result = result_of(outcome, disposition)
        self._emit(Attempted(self.plan.service, result, self._clock.now() - started, queued))
        return disposition

    def _conclude(self, item: Item, disposition: Disposition) -> None:
        self.progress_at = self._clock.now()
        if isinstance(disposition, Ack):  # nearly always
            self._settle(item, disposition)
            return
        match disposition:
            case Release(rest=rest, detail=detail):
                if rest > 0:
                    self._pacer.asked(rest, detail)
                self._put_back(item)
            case Retry(delay=delay):
                due_at = int((self._clock.wall() + delay) * 1000)
                item.request = item.request._replace(due_at=due_at)
                if self.plan.keyed:
                    self._settler.note_retry(item.request, disposition)
                    self._flights.land(item)
                    # Its key waits for it: nothing of the key goes past it.
                    self._clock.call_later(delay, lambda: self._put_back(item))
                else:
                    self._settle(item, disposition)
            case Repeat():
                self._settler.drop(lambda: self._settled(item))
            case _:
                self._settle(item, disposition)

    def _put_back(self, item: Item) -> None:
        self._flights.land(item)
        if self.leases.may_send(item):
            self._lanes.put_back(item)
        else:
            self.repeats.ended(item)
            self._lanes.ended(item)  # its next holder has it from the log

    def _settle(self, item: Item, fate: Fate) -> None:
        self._settler.settle(item.request, fate, lambda: self._settled(item))

    def _settled(self, item: Item) -> None:
        position = item.request.position
        self._holding.settle(position.partition, position.offset, item.window)
        if item.request.generation:
            self.repeats.ended(item)
        self._lanes.ended(item)
        self._flights.land(item)

    def _hop(self, item: Item) -> None:
        self._settler.move(item.request, lambda: self._settled(item))

    def _expired(self, request: Request) -> bool:
        return request.expires_at is not None and self._clock.wall() * 1000 >= request.expires_at

    def _forget(self, partitions: Collection[Partition]) -> None:
        self._lanes.discard(partitions)
        self._delays.discard(partitions)
        self.repeats.discard(partitions)

    # --- what can be seen ---

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    def flies(self, id_: str) -> bool:
        return id_ in self._flights

    @property
    def partitions(self) -> list[Partition]:
        return list(self._holding)

    @property
    def share(self) -> float:
        """Per second: what of the rate is this replica's."""
        return self._pacer.ceiling

    @property
    def oldest_at(self) -> float | None:
        """When the oldest open record that was fetched was appended, in seconds since the epoch."""
        return self._holding.oldest_at

    @property
    def held(self) -> int:
        """Partitions."""
        return len(self._holding)

    @property
    def open(self) -> int:
        """Fetched and not settled."""
        return self._holding.open()

    @property
    def deliverable(self) -> int:
        """Of these, what does not wait for its time, nor behind another of its key."""
        return self._lanes.ready + max(self._taken, self.in_flight)

    def __repr__(self) -> str:
        return f"<Worker {self.plan.service} {self._holding!r} {self._lanes!r} in_flight={self.in_flight}>"
