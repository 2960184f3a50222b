"""What this worker may send of: partitions come, are asked back, or are lost; its share follows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from typing import Protocol

from bufferproxy.clock import Clock
from bufferproxy.drain.committer import Committer
from bufferproxy.drain.flights import Flights
from bufferproxy.drain.holding import Holding
from bufferproxy.drain.lanes import Item
from bufferproxy.drain.pacer import Pacer
from bufferproxy.drain.plan import Plan
from bufferproxy.errors import LogUnavailable
from bufferproxy.log.contract import Lease, LogReader
from bufferproxy.observe.events import Emit, LeasesChanged, Rested
from bufferproxy.policy.share import share_of
from bufferproxy.records import Partition

HAND_OVER = 6.0
"""Seconds that a clean hand-over waits for what is in flight; the rest of Kafka's session (10 s) is for
the commit. What takes longer is sent again by the next holder."""

ASK = 5.0
"""Seconds between two questions for the number of members, when nothing else changes."""


class Follower(Protocol):
    """Who keeps something of its own for each partition that is held."""

    def begin(self, leases: Mapping[Partition, Lease]) -> None: ...

    def forget(self, partitions: Collection[Partition]) -> None:
        """Drop what was fetched of these and not yet taken to be sent."""
        ...


class Leases:
    """A LeaseListener."""

    def __init__(
        self, plan: Plan, holding: Holding, flights: Flights, pacer: Pacer, follower: Follower, emit: Emit
    ) -> None:
        self._plan = plan
        self._holding = holding
        self._flights = flights
        self._pacer = pacer
        self._follower = follower
        self._emit = emit
        self._leaving: set[Partition] = set()
        self._changed = asyncio.Event()
        self.committer: Committer | None = None

    def may_send(self, item: Item) -> bool:
        """Its partition is ours, and nobody has asked for it back."""
        partition = item.partition
        return self._holding.window(partition) is item.window and partition not in self._leaving

    def granted(self, leases: Mapping[Partition, Lease]) -> None:
        self._leaving.difference_update(leases)
        self._holding.grant(leases)
        self._follower.begin(leases)
        self._held_changed()

    async def revoking(self, partitions: Collection[Partition]) -> None:
        self._leaving.update(partitions)
        self._follower.forget(partitions)
        await self._flights.wait_landed(partitions, HAND_OVER)
        self._holding.release(partitions)
        if self.committer is not None:
            await self.committer.commit(partitions)
        self.lost(partitions)

    def lost(self, partitions: Collection[Partition]) -> None:
        self._follower.forget(partitions)
        self._holding.drop(partitions)
        self._leaving.difference_update(partitions)
        self._held_changed()

    async def follow_members(self, reader: LogReader, clock: Clock) -> None:
        """The number of holders is asked for after each change, and now and then, for others may come and go
        without ours changing; until it is known, assume the most."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), ASK)
            self._changed.clear()
            if self._owned in (0, self._plan.partitions):
                continue
            try:
                members = await reader.members()
                self._set_pace(holders=members)
                if self._pacer.ceiling == 0.0:
                    detail = f"{members} workers cannot share {self._plan.rate:g}/s: run fewer"
                    self._emit(Rested(self._plan.service, "share", ASK, detail))
            except LogUnavailable:
                await clock.sleep(1.0)
                self._changed.set()

    def _held_changed(self) -> None:
        """Who holds what has changed: begin with no tokens, at the share that is now ours."""
        self._pacer.hand_over()
        self._set_pace(holders=max(1, self._plan.partitions - self._owned + 1))
        self._emit(LeasesChanged(self._plan.service, len(self._holding)))
        self._changed.set()

    def _set_pace(self, holders: int) -> None:
        plan = self._plan
        share = share_of(plan.rate, plan.burst, owned=self._owned, total=plan.partitions, holders=holders)
        self._pacer.limit(share.rate, share.burst)

    @property
    def _owned(self) -> int:
        return sum(1 for partition in self._holding if partition.topic == self._plan.topics.requests)

    def __repr__(self) -> str:
        return f"<Leases owned={self._owned} leaving={len(self._leaving)}>"
