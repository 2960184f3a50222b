"""A member of a group. Three threads meet here:

- the loop: `fetch`, `commit`, `pause`, and the listener's calls;
- the poll thread (poller.py): takes part in rebalances, begins leases;
- kafka-python's I/O thread: heartbeats, the rebalance callbacks of `_Rebalances`, and records (pump.py).

A lease begins on the poll thread, between two polls: the partition was paused when it was assigned, its
committed offset is asked for, its position set there, `granted` posted, and only then do its records flow.
It ends on the I/O thread: a revoked partition is held back until `revoking` and the commits under way are
done; of a lost one the loop is told, and whatever it commits is refused by the lease's epoch. Rebalances are
cooperative: what a member keeps is not touched, its window goes on, and nothing of it is read twice.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from kafka import TopicPartition
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.future import Future

from bufferproxy.errors import LogUnavailable
from bufferproxy.log.contract import NO_MARKS, Lease, LeaseListener, LogReader
from bufferproxy.log.kafka.assignor import CooperativeRanges
from bufferproxy.log.kafka.client import Client
from bufferproxy.log.kafka.commits import Commits
from bufferproxy.log.kafka.feed import Feed
from bufferproxy.log.kafka.leases import beginnings
from bufferproxy.log.kafka.membership import Membership
from bufferproxy.log.kafka.options import Clients, ours
from bufferproxy.log.kafka.poller import Poller
from bufferproxy.log.kafka.watch import Seen
from bufferproxy.records import Partition, Record

logger = logging.getLogger(__name__)

DOUBT_EVERY = 0.5
"""Seconds between two looks at whether this is still a member."""
GIVE_UP = 5.0
"""Seconds that the threads of a stuck reader are given to end."""


class _Rebalances(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """On the I/O thread."""

    def __init__(self, reader: KafkaReader) -> None:
        self._reader = reader

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._reader.assigned(assigned)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        released = self._reader.revoked(revoked)
        if released is not None:
            await released

    async def on_partitions_lost(self, lost: Collection[TopicPartition]) -> None:
        self._reader.lost(lost)


class KafkaReader(LogReader):
    def __init__(self, clients: Clients, group: str, topics: Sequence[str], listener: LeaseListener) -> None:
        self.group = group
        self._clients = clients
        self._topics = topics
        self._listener = listener
        self._feed = Feed()
        self._paused: set[Partition] = set()
        self._leases: dict[Partition, Lease] = {}
        self._leaving: set[Partition] = set()
        self._revokes: set[asyncio.Task[None]] = set()
        self._doubting: asyncio.Task[None] | None = None
        self.closed = False
        self._assigning = threading.Lock()
        """Between an assignment, which pauses, and the begin of a lease, which resumes."""
        # What follows belongs to the I/O thread while the poll thread polls, and to the poll thread between.
        self._owned: set[TopicPartition] = set()
        self._fresh: set[TopicPartition] = set()
        self._epoch = -1

    @classmethod
    async def open(
        cls, clients: Clients, group: str, topics: Sequence[str], listener: LeaseListener
    ) -> KafkaReader:
        reader = cls(clients, group, topics, listener)
        await asyncio.to_thread(reader._join)
        reader._doubting = asyncio.create_task(reader._doubt())
        return reader

    def _join(self) -> None:
        self._consumer = self._clients.consumer(
            group=self.group,
            kafka_client=self._client_of,
            partition_assignment_strategy=[CooperativeRanges(lambda: tuple(self._owned))],
        )
        _finish_every_join(self._consumer._coordinator)
        self._membership = Membership(self._consumer, self._clients.session)
        self._commits = Commits(self._consumer, self._leases)
        self._poller = Poller(self._consumer, self._feed, between=self._begin_leases)
        with ours("joining the group"):
            self._consumer.subscribe(list(self._topics), listener=_Rebalances(self))
        self._poller.start()

    def _client_of(self, **settings: Any) -> Client:
        self._client = Client(**settings)
        return self._client

    # --- LogReader, on the loop ---------------------------------------------------------------------------

    async def fetch(self) -> Sequence[Record]:
        return await self._feed.take()

    def after(self, record: Record) -> int:
        return record.offset + 1

    async def commit(
        self, offsets: Mapping[Partition, tuple[int, int]], marks: Mapping[Partition, str] = NO_MARKS
    ) -> Collection[Partition]:
        if self.closed:
            raise LogUnavailable("the reader is closed")
        return await self._commits.commit(offsets, marks)

    def pause(self, partition: Partition) -> None:
        self._paused.add(partition)
        self._flag(self._consumer.pause, partition)

    def resume(self, partition: Partition) -> None:
        self._paused.discard(partition)
        self._flag(self._consumer.resume, partition)
        self._poller.pump.resumed()

    def _flag(self, change: Any, partition: Partition) -> None:
        self._poller.pump.hurried = bool(self._paused)
        if partition not in self._leases:
            return
        try:
            change(TopicPartition(*partition))
        except KeyError:  # taken away this moment; the loop is about to hear of it
            logger.debug("%s is not assigned any more", partition)

    async def close(self) -> None:
        if self.closed:
            return
        await self.end()
        instance = self._clients.options.instance_id
        if instance is not None:
            # kafka-python sends no LeaveGroup for a static member: others would wait for its session.
            await asyncio.to_thread(self._clients.expel, self.group, instance)

    async def give_up(self) -> None:
        """For one that is stuck: lets go of everything at once, whether or not its threads ever end."""
        held = set(self._leases)
        self.closed = True
        self._leases.clear()
        self._listener.lost(held)
        self._poller.stop()
        self._stop_doubting()
        for revoke in self._revokes:
            revoke.cancel()
        await asyncio.to_thread(self._poller.join, GIVE_UP)

    def fail(self, failure: Exception) -> None:
        """Whoever waits for records gets this."""
        self._feed.fail(failure)

    async def abandon(self) -> None:
        await self.end(abandon=True)

    async def end(self, *, abandon: bool = False) -> None:
        if not self.closed:
            self.closed = True
            self._poller.stop(abandon=abandon)
            self._stop_doubting()
            for revoke in self._revokes:
                revoke.cancel()
        # By the poll thread: it may be in the middle of a rebalance, and closes the consumer afterwards.
        await self._poller.ended()
        self._leases.clear()

    def settled(self) -> dict[Partition, int]:
        """The next offset of each partition that is held: what lies below is done with."""
        return {partition: self._commits.done(partition) for partition in self._leases}

    def seen(self) -> Seen:
        """For the watchdog. Asks neither the broker nor the I/O thread."""
        coordinator = self._consumer._coordinator
        # What has no position is not read either, though it should be: unless it is being given away.
        held = self._leases.keys() - self._paused - self._leaving
        reading = {partition: self._commits.done(partition) for partition in held}
        reading.update(self._poller.positions(held))
        return Seen(coordinator.stable(), coordinator._heartbeat_enabled, self._feed.empty, reading)

    def __repr__(self) -> str:
        held = f"{len(self._leases)} leases, {len(self._paused)} paused"
        return f"<KafkaReader {self.group} {held} {self._feed!r}>"

    # --- leases begin, on the poll thread -------------------------------------------------------------------

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """On the I/O thread, within a poll: nothing of these may come before their lease has begun."""
        with self._assigning:
            self._consumer.pause(*partitions)
            self._fresh |= set(partitions)
        self._owned |= set(partitions)
        self._epoch = self._consumer.group_metadata().generation_id

    def _begin_leases(self) -> None:
        fresh = sorted(self._fresh)
        if not fresh:
            return
        with ours("asking for committed offsets"):
            leases = beginnings(self._consumer, self.group, fresh, self._epoch, self._poller.stops_within)
            for place, lease in leases.items():
                self._consumer.seek(place, lease.committed)
        self._fresh.difference_update(fresh)
        self._feed.post(self._granted, {Partition(*place): lease for place, lease in leases.items()})

    def _granted(self, leases: dict[Partition, Lease]) -> None:
        if self.closed:
            return
        self._leases.update(leases)
        self._commits.begin(leases)
        with self._assigning:
            # Here, and before anybody hears of them: whoever pauses one does so afterwards. One that was
            # lost and assigned again meanwhile waits for its next lease.
            known = self._consumer.assignment() - self._fresh
            self._consumer.resume(*(known & {TopicPartition(*partition) for partition in leases}))
        self._poller.pump.wake()
        self._listener.granted(leases)

    # --- leases end, told on the I/O thread -----------------------------------------------------------------

    def revoked(self, places: Collection[TopicPartition]) -> Future | None:
        """Returns what to wait for before the partitions may go to somebody else."""
        self._owned -= set(places)
        self._fresh -= set(places)
        released = Future()

        def release(_: object = None) -> None:
            if not released.is_done:
                released.success(None)
                self._client.wakeup()

        def begin() -> None:
            task = asyncio.ensure_future(self._revoke({Partition(*place) for place in places}))
            self._revokes.add(task)
            task.add_done_callback(self._revokes.discard)
            task.add_done_callback(release)

        if self.closed or not self._feed.post(begin):
            return None
        return released

    async def _revoke(self, partitions: set[Partition]) -> None:
        self._feed.drop(partitions)
        self._leaving |= partitions
        held = partitions & self._leases.keys()
        try:
            # Below the session, within which a member must not be silent; heartbeats go on meanwhile.
            async with asyncio.timeout(self._clients.session * 0.8):
                if held:
                    await self._listener.revoking(held)
                await self._commits.quiet()
        except TimeoutError:
            logger.warning("%d partitions are given away unsettled: not let go in time", len(held))
            self._listener.lost(held)
        finally:
            self._forget(partitions)

    def lost(self, places: Collection[TopicPartition]) -> None:
        self._owned -= set(places)
        self._fresh -= set(places)
        self._feed.post(self._lose, {Partition(*place) for place in places})

    def _lose(self, partitions: set[Partition]) -> None:
        self._feed.drop(partitions)
        held = partitions & self._leases.keys()
        self._forget(partitions)
        if held and not self.closed:
            self._listener.lost(held)

    async def _doubt(self) -> None:
        while True:
            await asyncio.sleep(DOUBT_EVERY)
            if self._leases and self._membership.doubtful:
                logger.error("%s: the coordinator does not answer: its partitions are let go", self.group)
                self._lose(set(self._leases))
                self._membership.resign()

    def _stop_doubting(self) -> None:
        if self._doubting is not None:
            self._doubting.cancel()

    def _forget(self, partitions: set[Partition]) -> None:
        for partition in partitions:
            self._leases.pop(partition, None)
            self._paused.discard(partition)
            self._leaving.discard(partition)


def _finish_every_join(coordinator: Any) -> None:
    """kafka-python 3.0.12 asks in each poll whether to join, also while it joins. When it leads the group and
    joins because a topic was made or grew, the answer is no from the moment that it has made the assignment:
    a poll that ran out before the broker's answer is followed by none that takes it. The member then holds
    nothing and sends no heartbeats, for ever, and says nothing."""
    asks = coordinator.need_rejoin
    coordinator.need_rejoin = lambda: coordinator.rejoining or asks()
