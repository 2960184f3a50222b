"""The sentence: fetch -> lane -> pace -> deliver -> decide -> settle -> commit.

A fixed set of deliverers, none per request. Between a token and the write there is nothing but the check
that the partition is still ours. Every fetched record ends in exactly one of: settled, put back, or given up
because its partition has left us; `_deliver` sees to that in one `finally`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Collection, Mapping
from typing import NamedTuple

from bufferproxy.clock import Clock
from bufferproxy.deliver.contract import Deliverer
from bufferproxy.deliver.outcome import NotSent
from bufferproxy.drain.committer import Committer
from bufferproxy.drain.delays import Delays
from bufferproxy.drain.holding import Bounds, Gate, Holding
from bufferproxy.drain.lanes import FreeLane, Item, KeyedLanes
from bufferproxy.drain.pacer import Pacer
from bufferproxy.envelope import DELAYED, REQUESTS, request_of, service_number
from bufferproxy.errors import EnvelopeError, LogUnavailable
from bufferproxy.http1.client import Connection
from bufferproxy.http1.reply import Failure
from bufferproxy.log.contract import Lease, LogReader
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.observe.events import Attempted, Emit, LeasesChanged
from bufferproxy.policy.share import share_of
from bufferproxy.records import Partition, Record, Request
from bufferproxy.settle.decide import RetryPolicy, decide, result_of
from bufferproxy.settle.disposition import Disposition, Expire, Release, Retry
from bufferproxy.settle.settler import Fate, Settler

HAND_OVER = 3.0
"""Seconds that a clean hand-over waits for what is in flight: a third of Kafka's session."""


class Plan(NamedTuple):
    """What the settings say about one service, as far as draining needs it. `order`: none, key, strict."""

    service: str
    topics: ServiceTopics
    partitions: int
    order: str
    rate: float
    burst: int
    concurrency: int
    retry: RetryPolicy

    @property
    def keyed(self) -> bool:
        return self.order != "none"

    def bounds(self, partition: Partition) -> Bounds:
        if partition.topic == self.topics.delayed:
            return Bounds(open=max(256, 2 * self.concurrency))
        # A blocked key keeps its followers here, so that others can pass: that needs room.
        return Bounds(open=10_000 if self.keyed else max(1_000, 4 * self.concurrency))


class Worker:
    """Drains one service. Listens to what its reader holds."""

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
        self._committer: Committer | None = None
        self._flying: Counter[Partition] = Counter()
        self._sent: set[str] = set()
        self._leaving: set[Partition] = set()
        self._changed = asyncio.Event()
        self._landed = asyncio.Event()
        self._stopping = False
        self.progress_at = clock.now()
        """When this worker last fetched or settled something, or had nothing to do."""

    # --- the sentence ---

    async def run(self, reader: LogReader) -> None:
        """Until cancelled."""
        self._holding.gate = Gate(reader.pause, reader.resume)
        self._committer = Committer(self._holding, reader, self._clock)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fetch(reader))
            group.create_task(self._committer.run())
            group.create_task(self._delays.run())
            group.create_task(self._follow_members(reader))
            for _ in range(self.plan.concurrency):
                group.create_task(self._deliver())

    async def stop(self, grace: float) -> None:
        """Send nothing more; wait for what is in flight, at most `grace` seconds; commit."""
        self._stopping = True
        await self._wait_landed(set(self._holding), grace)
        if self._committer is not None:
            await self._committer.commit()

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
        while True:
            item = await self._lanes.take()
            disposition: Disposition = Release()
            try:
                disposition = await self._attempt(item)
            finally:
                self._conclude(item, disposition)

    async def _attempt(self, item: Item) -> Disposition:
        """Everything up to the service's answer. Updates `item.request` with what the attempt used up."""
        if self._expired(item.request):
            return Expire()
        await self._pacer.may_connect()
        connection = await self._connect()
        if connection is None:
            return Release()
        try:
            await self._pacer.turn()
            request = item.request
            if self._stopping or not self._may_send(item):
                self._pacer.give_back()
                return Release()
            if self._expired(request):
                self._pacer.give_back()
                return Expire()
            if not self._deliverer.ready(connection):
                self._pacer.give_back()  # the service closed it while we waited for our turn
                return Release()
            # From here to the write inside `attempt` nothing is awaited.
            return await self._send(item, connection)
        finally:
            self._deliverer.release(connection)

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
        counted = request._replace(attempts=request.attempts + 1, sends=request.sends + 1)
        queued = None if request.sends else self._clock.wall() - request.accepted_at / 1000
        item.sent = True
        self._flying[item.partition] += 1
        self._sent.add(request.id)
        outcome = await self._deliverer.attempt(connection, request, counted.sends)
        disposition = decide(outcome, counted, self.plan.retry, self._clock.random())
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
        match disposition:
            case Release(rest=rest, detail=detail):
                if rest > 0:
                    self._pacer.asked(rest, detail)
                self._land(item)
                if self._may_send(item):
                    self._lanes.put_back(item)  # else its next holder has it from the log
            case Retry(delay=delay):
                due_at = int((self._clock.wall() + delay) * 1000)
                item.request = item.request._replace(due_at=due_at)
                if self.plan.keyed:
                    self._settler.note_retry(item.request, disposition)
                    self._land(item)
                    asyncio.get_running_loop().call_later(delay, self._retry_in_place, item)
                else:
                    self._settle(item, disposition)
            case _:
                self._settle(item, disposition)

    def _retry_in_place(self, item: Item) -> None:
        """Its key waits for it: it is next, and nothing of the key went past it."""
        if self._may_send(item):
            self._lanes.put_back(item)

    def _settle(self, item: Item, fate: Fate) -> None:
        self._settler.settle(item.request, fate, lambda: self._settled(item))

    def _settled(self, item: Item) -> None:
        position = item.request.position
        if self._holding.settle(position.partition, position.offset, item.window):
            self._lanes.ended(item)
        self._land(item)

    def _land(self, item: Item) -> None:
        if item.sent:
            item.sent = False
            self._sent.discard(item.request.id)
            self._flying[item.partition] -= 1
            self._landed.set()

    async def _wait_landed(self, partitions: Collection[Partition], seconds: float) -> None:
        """Until nothing of `partitions` is in flight, or `seconds` are over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while any(self._flying[partition] for partition in partitions):
                    self._landed.clear()
                    await self._landed.wait()

    def _hop(self, item: Item) -> None:
        self._settler.move(item.request, lambda: self._settled(item))

    def _may_send(self, item: Item) -> bool:
        """Its partition is ours, and nobody has asked for it back."""
        partition = item.partition
        return self._holding.window(partition) is item.window and partition not in self._leaving

    def _expired(self, request: Request) -> bool:
        return request.expires_at is not None and self._clock.wall() * 1000 >= request.expires_at

    # --- what we hold (LeaseListener) ---

    def granted(self, leases: Mapping[Partition, Lease]) -> None:
        self._leaving.difference_update(leases)
        self._holding.grant(leases)
        self._held_changed()

    async def revoking(self, partitions: Collection[Partition]) -> None:
        self._leaving.update(partitions)
        self._lanes.discard(partitions)
        self._delays.discard(partitions)
        await self._wait_landed(set(partitions), HAND_OVER)
        if self._committer is not None:
            await self._committer.commit(partitions)
        self.lost(partitions)

    def lost(self, partitions: Collection[Partition]) -> None:
        self._lanes.discard(partitions)
        self._delays.discard(partitions)
        self._holding.drop(partitions)
        self._leaving.difference_update(partitions)
        self._held_changed()

    def _held_changed(self) -> None:
        """Who holds what has changed: begin with no tokens, at the share that is now ours."""
        self._pacer.hand_over()
        self._set_pace(holders=max(1, self.plan.partitions - self._owned + 1))
        self._emit(LeasesChanged(self.plan.service, len(self._holding)))
        self._changed.set()

    async def _follow_members(self, reader: LogReader) -> None:
        """The number of holders is asked for after each change; until it is known, assume the most."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._owned in (0, self.plan.partitions):
                continue
            try:
                self._set_pace(holders=await reader.members())
            except LogUnavailable:
                await self._clock.sleep(1.0)
                self._changed.set()

    def _set_pace(self, holders: int) -> None:
        plan = self.plan
        share = share_of(plan.rate, plan.burst, owned=self._owned, total=plan.partitions, holders=holders)
        self._pacer.limit(share.rate, share.burst)

    @property
    def _owned(self) -> int:
        return sum(1 for partition in self._holding if partition.topic == self.plan.topics.requests)

    # --- what can be seen ---

    @property
    def in_flight(self) -> int:
        return self._flying.total()

    def flies(self, id_: str) -> bool:
        return id_ in self._sent

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

    def __repr__(self) -> str:
        return f"<Worker {self.plan.service} {self._holding!r} {self._lanes!r} in_flight={self.in_flight}>"
