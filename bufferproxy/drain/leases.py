"""What this worker may send of: partitions come, are asked back, or are lost."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from bufferproxy.drain.committer import Committer
from bufferproxy.drain.flights import Flights
from bufferproxy.drain.holding import Holding
from bufferproxy.drain.lanes import Item
from bufferproxy.drain.plan import Plan
from bufferproxy.log.contract import Lease
from bufferproxy.observe.events import Emit, LeasesChanged
from bufferproxy.records import Partition

HAND_OVER = 6.0
"""Seconds that a clean hand-over waits for what is in flight; the rest of Kafka's session (10 s) is for
the commit. What takes longer is sent again by the next holder."""


class Follower(Protocol):
    """Who keeps something of its own for each partition that is held."""

    def begin(self, leases: Mapping[Partition, Lease]) -> None: ...

    def forget(self, partitions: Collection[Partition]) -> None:
        """Drop what was fetched of these and not yet taken to be sent."""
        ...


class Leases:
    """A LeaseListener."""

    def __init__(
        self, plan: Plan, holding: Holding, flights: Flights, follower: Follower, emit: Emit
    ) -> None:
        self._plan = plan
        self._holding = holding
        self._flights = flights
        self._follower = follower
        self._emit = emit
        self._leaving: set[Partition] = set()
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
        self._holding.release(partitions, self._flights.highest())
        if self.committer is not None:
            await self.committer.commit(partitions)
        self.lost(partitions)

    def lost(self, partitions: Collection[Partition]) -> None:
        self._follower.forget(partitions)
        self._holding.drop(partitions)
        self._leaving.difference_update(partitions)
        self._held_changed()

    def _held_changed(self) -> None:
        self._emit(LeasesChanged(self._plan.service, len(self._holding)))

    def __repr__(self) -> str:
        return f"<Leases held={len(self._holding)} leaving={len(self._leaving)}>"
