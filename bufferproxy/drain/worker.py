"""The sentence: fetch -> lane -> pace -> deliver -> decide -> settle -> commit.

Deliverers, as many as were ever busy at a time, and none per request. Every fetched record ends in exactly
one of: settled, put back, lying aside until its time, or given up because its partition has left us;
`_deliver` sees to that in one `finally`. What happens between a lane and the service's answer is in
`sender.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from bufferproxy.clock import Clock
from bufferproxy.deliver.contract import Deliverer
from bufferproxy.drain.activity import Activity
from bufferproxy.drain.announcer import Announcer
from bufferproxy.drain.committer import Committer
from bufferproxy.drain.delays import Delays
from bufferproxy.drain.expiry import Expiry
from bufferproxy.drain.flights import Flights
from bufferproxy.drain.holding import Commit, Gate, Holding
from bufferproxy.drain.inquest import Inquest, Verdict
from bufferproxy.drain.keyed import KeyedLanes
from bufferproxy.drain.lanes import FreeLane, Item
from bufferproxy.drain.leases import Leases
from bufferproxy.drain.openings import Openings
from bufferproxy.drain.pacer import Pacer
from bufferproxy.drain.parking import Parking
from bufferproxy.drain.plan import Plan
from bufferproxy.drain.ranked import RankedLanes
from bufferproxy.drain.read_ahead import ReadAhead
from bufferproxy.drain.sender import Sender
from bufferproxy.drain.waits import Waits, Ways
from bufferproxy.envelope import request_of
from bufferproxy.errors import EnvelopeError, LogUnavailable
from bufferproxy.ids import service_number
from bufferproxy.log.contract import Lease, LogInspector, LogReader
from bufferproxy.observe.events import Emit
from bufferproxy.records import Partition, Record
from bufferproxy.settle.disposition import (
    Ack,
    DeadLetter,
    Disposition,
    Expire,
    Release,
    Repeat,
    Retry,
    Wait,
)
from bufferproxy.settle.settler import Fate, Settler

FAILING = 10.0
"""Seconds without a commit that works, after which somebody should know."""


class Worker:
    """Drains one service. `leases` is what its reader must tell."""

    def __init__(
        self,
        plan: Plan,
        deliverer: Deliverer,
        pacer: Pacer,
        settler: Settler,
        clock: Clock,
        emit: Emit,
        ahead: ReadAhead | None = None,
    ) -> None:
        """`ahead`: the memory that it shares with the other services of this process."""
        self.plan = plan
        self._pacer = pacer
        self._settler = settler
        self._clock = clock
        self._emit = emit
        self._number = service_number(plan.service)
        self._numbers = {topic: plan.accepted_in(topic) for topic in plan.reads}
        priorities = plan.topics.priorities
        self._lanes: FreeLane | KeyedLanes = FreeLane(priorities=priorities)
        self._parking: Parking | None = None
        if plan.keyed:
            ranked = priorities and plan.order == "key"
            self._lanes = lanes = RankedLanes() if ranked else KeyedLanes(single=plan.order == "strict")
            if plan.order == "key":
                self._parking = Parking(plan.topics, lanes, self._park, self._drop, clock)
        pacer.behind = lambda: self._lanes.ready
        self._holding = Holding(plan.bounds, ahead)
        self._inquest = Inquest(plan.topics, self._judged, clock)
        self._openings = Openings(
            self._holding, self._admit, self._interrupt, self._inquest.on, at_most_once=plan.at_most_once
        )
        self._delays = Delays(clock, self._come_due, self._hop, self._expire)
        self.activity = Activity(lambda: self._holding.open() - len(self._delays))
        self._flights = Flights()
        self._sender = Sender(plan, deliverer, pacer, self._flights, clock, emit)
        self._announcer = self._sender.announcer = Announcer(self._holding)
        self.leases = self._sender.owner = Leases(plan, self._holding, self._flights, self, emit)
        self.arrived: Callable[[], None] = _nothing
        """Called when something was fetched: there may be more to do than who shares the rate out knows."""
        self._stopping = False
        ways = Ways(self._put_back, self._postpone, self.leases.may_send, self._crowded)
        self._waits = Waits(ways, clock, plan.key_rate)
        self._taken: set[Item] = set()
        """Out of the lanes, and not concluded."""
        self._expiry = Expiry(self._lanes, self._taken, self._expire, clock)
        self._deliverers = 0
        self._at_hand = 0
        """Deliverers that wait for something to send."""
        self._ended = 0

    # --- the sentence ---

    async def run(self, reader: LogReader, log: LogInspector) -> None:
        """Until cancelled."""
        self._holding.gate = Gate(reader.pause, reader.resume)
        committer = self.leases.committer = Committer(
            self._holding, reader, self._clock, self._committed, self.plan.commit_every
        )
        self._openings.commit = committer.soon
        self._announcer.commit = committer.soon
        committer.soon()  # leases that were granted before wait to be written down
        async with asyncio.TaskGroup() as group:
            self._inquest.begin(log, group)
            group.create_task(self._fetch(reader))
            group.create_task(committer.run())
            group.create_task(self._delays.run())
            group.create_task(self._expiry.run(self.activity))
            if self._parking is not None:
                group.create_task(self._parking.run(log, self.plan.topics.group))
            self._add_deliverer(group)

    async def stop(self, grace: float) -> None:
        """Send nothing more; wait for what is in flight, at most `grace` seconds; commit."""
        self._stopping = True
        self._sender.owner = None
        await self._flights.wait_landed(set(self._holding), grace)
        self._holding.release(set(self._holding), self._flights.highest())
        if self.leases.committer is not None:
            await self.leases.committer.commit()

    async def _fetch(self, reader: LogReader) -> None:
        while not self._stopping:
            try:
                records = await reader.fetch()
            except LogUnavailable:
                await self._clock.sleep(0.5)
                continue
            self.activity.stir()
            for record in records:
                self._take_in(record, reader.after(record))
            self.arrived()

    def _take_in(self, record: Record, after: int) -> None:
        window = self._holding.begin(record, after)
        if window is None:
            return
        came_due = record.partition.topic == self.plan.topics.delayed
        try:
            request = request_of(record, self._number, self._numbers[record.partition.topic])
        except EnvelopeError as error:

            def quarantined() -> None:
                self._holding.settle(record.partition, record.offset, window)

            self._settler.quarantine(record, str(error), quarantined)
            return
        if self._parking is not None and self._parking.repeats(record):
            self._holding.settle(record.partition, record.offset, window)
            return
        item = Item(request, window, due=came_due)
        if window.tried and (tried := window.tried.get(record.offset)) is not None:
            self._waits.go_on_with(item, tried, self.plan.retry.max)
        if not self._openings.takes(item):
            self._admit(item)

    def _admit(self, item: Item) -> None:
        """Its partition is open: it goes where it belongs."""
        if item.due:
            self._delays.hold(item)
        elif self._parking is None:
            if item.expired(int(self._clock.wall() * 1000)):
                self._expire(item)
            else:
                self._lanes.offer(item)
        elif not self._parking.takes(item):
            self._lanes.offer(item)
            self._crowded(item.partition)

    def _come_due(self, item: Item) -> None:
        self.activity.stir()
        self._lanes.offer(item)

    def _add_deliverer(self, group: asyncio.TaskGroup) -> None:
        self._deliverers += 1
        self._at_hand += 1
        group.create_task(self._deliver(group))

    async def _deliver(self, group: asyncio.TaskGroup) -> None:
        while not self._stopping:
            item = await self._lanes.take()
            self._at_hand -= 1
            if not self._at_hand and self._deliverers < self.plan.concurrency:
                self._add_deliverer(group)  # as many as were ever busy at a time, and one
            if item.request.due_at is not None and self.plan.keyed and self._waits.until_due(item):
                self._at_hand += 1
                continue
            self._taken.add(item)
            disposition: Disposition = Release()
            try:
                if self.plan.at_most_once:
                    await self._announcer.announce(item)
                disposition = await self._sender.attempt(item)
            finally:
                self._at_hand += 1
                self._taken.discard(item)
                self._conclude(item, disposition)

    def _conclude(self, item: Item, disposition: Disposition) -> None:
        if item.over:
            return  # it expired in our hands, and was ended then
        if isinstance(disposition, Ack):  # nearly always
            self._settle(item, disposition)
            return
        match disposition:
            case Release(rest=rest, detail=detail, sent=sent):
                if rest > 0:
                    self._pacer.asked(rest, detail)
                # The service may refuse only this one, each time: then it is not the first again.
                self._put_back(item, behind=sent)
            case Wait(seconds=seconds, of_key=of_key):
                if of_key and not self.plan.keyed:
                    self._waits.aside(item, seconds)
                else:
                    self._waits.in_place(item, seconds)
            case Retry(delay=delay):
                due_at = int((self._clock.wall() + delay) * 1000)
                item.request = item.request._replace(due_at=due_at)
                if self.plan.keyed:
                    item.until = self._clock.now() + delay
                    self._holding.tried(item.request, item.window)
                    self._settler.note_retry(item.request, disposition)
                    self._flights.land(item)
                    self._openings.answered(item)
                    if not self._waits.until_due(item):
                        self._put_back(item)
                else:
                    self._settle(item, disposition)
            case Expire():
                self._expire(item)
            case Repeat():
                self._settler.drop(lambda: self._settled(item))
            case _:
                self._settle(item, disposition)

    def _crowded(self, partition: Partition) -> None:
        if self._parking is not None and (enough := self._holding.surplus(partition)):
            self._parking.relieve(partition, enough)

    def _park(self, item: Item) -> None:
        if self._begins(item):
            self._settler.park(item.request, lambda: self._settled(item), lambda: self._goes_on(item))

    def _interrupt(self, item: Item) -> None:
        self._settle(item, DeadLetter("interrupted", None, "it may have been sent"))

    def _judged(self, item: Item, verdict: Verdict) -> None:
        if not self.leases.may_send(item):
            return  # its next holder looks into it
        if verdict is Verdict.GUILTY:
            self._settle(item, DeadLetter("crash", None, "it ended the worker again and again"))
        elif verdict is Verdict.SETTLED:
            self._settler.drop(lambda: self._settled(item))
        else:
            item.window.progressed()
            self._holding.touch(item.partition)
            self._admit(item)

    def _postpone(self, item: Item) -> None:
        if self._begins(item):
            self._settler.postpone(item.request, lambda: self._settled(item))

    def _drop(self, item: Item) -> None:
        """It lies in another place already."""
        self._settled(item)

    def _put_back(self, item: Item, *, behind: bool = False) -> None:
        item.timer = None
        self._flights.land(item)
        if self.leases.may_send(item):
            self._lanes.put_back(item, behind=behind)
        else:
            self._leave(item)

    def _leave(self, item: Item) -> None:
        """Its next holder has it from the log."""
        self._sender.repeats.ended(item)
        self._lanes.ended(item)
        self._flights.land(item)

    def _begins(self, item: Item) -> bool:
        """To settle what was not sent."""
        if not self._goes_on(item):
            return False
        self._flights.settling(item)
        return True

    def _goes_on(self, item: Item) -> bool:
        """Not when its partition is asked back, nor at the end: whoever takes over does it."""
        if self._stopping or not self.leases.may_send(item):
            self._leave(item)
            return False
        return True

    def _settle(self, item: Item, fate: Fate) -> None:
        self._settler.settle(item.request, fate, lambda: self._settled(item))

    def _settled(self, item: Item) -> None:
        position = item.request.position
        ours = self._holding.settle(position.partition, position.offset, item.window)
        self._ended += 1
        if ours and self._parking is not None:
            self._parking.settled(item)
        self._openings.answered(item)
        if item.request.generation:
            self._sender.repeats.ended(item)
        self._lanes.ended(item)
        self._flights.land(item)

    def _expire(self, item: Item) -> None:
        if self._begins(item):
            self._settle(item, Expire())

    def _hop(self, item: Item) -> None:
        if self._begins(item):
            self._settler.move(item.request, lambda: self._settled(item))

    def _committed(self, commits: Mapping[Partition, Commit]) -> None:
        self._openings.committed(commits)
        self._announcer.committed(commits)

    # --- what `leases` tells ---

    def begin(self, leases: Mapping[Partition, Lease]) -> None:
        self._openings.begin(leases)
        if self._parking is not None:
            self._parking.granted(leases)

    def forget(self, partitions: Collection[Partition]) -> None:
        self._openings.forget(partitions)
        self._announcer.forget(partitions)
        self._lanes.discard(partitions)
        self._delays.discard(partitions)
        if self._parking is not None:
            self._parking.forget(partitions)
        self._sender.repeats.discard(partitions)

    # --- what can be seen ---

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    @property
    def sender(self) -> Sender:
        return self._sender

    def flies(self, id_: str) -> bool:
        return id_ in self._flights

    @property
    def backlogged(self) -> int:
        """Partitions of which something is open."""
        return self._holding.backlogged

    @property
    def partitions(self) -> list[Partition]:
        return list(self._holding)

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
        """Of these, what does not wait for its time, nor behind another of its key. What is in a deliverer's
        hands may have left us, and will be put down when its turn comes."""
        ours = sum(map(self.leases.may_send, self._taken))
        return self._lanes.ready + max(ours, self.in_flight)

    @property
    def moved(self) -> int:
        """Attempts that were made and records that were settled, added up."""
        return self._ended + self._sender.sends

    @property
    def unopened(self) -> int:
        """What waits until its partition is opened: until its lease is written down, what is parked of it is
        counted, or it is known what became of a suspect."""
        parking = 0 if self._parking is None else len(self._parking)
        return len(self._openings) + len(self._inquest) + parking

    @property
    def trouble(self) -> str:
        """Why nothing of this can go on, in words; empty when there is no reason."""
        failing = 0.0 if self.leases.committer is None else self.leases.committer.failing
        return f"no commit has worked for {failing:.0f} s" if failing > FAILING else ""

    def __repr__(self) -> str:
        return f"<Worker {self.plan.service} {self._holding!r} {self._lanes!r} in_flight={self.in_flight}>"


def _nothing() -> None: ...
