"""Who may read what, among the readers of one process: clause 4 for the backends that live in one.

A group is dealt out by partition *number*: partition n of all its topics has one holder, as with Kafka's
range assignor, for a partition of blocked keys must be read by who reads the requests of the same number.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Protocol, TypeVar

from bufferproxy.log.contract import Lease, LeaseListener
from bufferproxy.records import Partition

if TYPE_CHECKING:
    import itertools
    from collections.abc import Callable, Collection, Mapping, Sequence

    from bufferproxy.clock import Clock

HAND_OVER = 20.0
"""Seconds that a holder has to finish what it has in flight; then its lease is lost."""

M = TypeVar("M")


def share(holders: Mapping[int, M | None], members: Sequence[M]) -> dict[int, M | None]:
    """Who shall hold each number: nobody more than one above another, and as little moved as possible."""
    target = {number: holder if holder in members else None for number, holder in holders.items()}
    if not members:
        return target
    load = Counter(holder for holder in target.values() if holder is not None)
    for number in sorted(number for number, holder in target.items() if holder is None):
        least = min(members, key=lambda member: load[member])
        target[number] = least
        load[least] += 1
    while True:
        least = min(members, key=lambda member: load[member])
        most = max(members, key=lambda member: load[member])
        if load[most] - load[least] < 2:
            return target
        target[max(number for number, holder in target.items() if holder is most)] = least
        load[most] -= 1
        load[least] += 1


class Source(Protocol):
    """What is told of leases before its listener is, so that no record of a lost one comes out."""

    def begin(self, offsets: Mapping[Partition, int]) -> None: ...

    def end(self, partitions: Collection[Partition]) -> None: ...


class Member:
    """One reader of a group: its listener, where its records come from, and the epochs it holds."""

    def __init__(self, listener: LeaseListener, source: Source) -> None:
        self.listener = listener
        self.source = source
        self.epochs: dict[Partition, int] = {}

    def __repr__(self) -> str:
        return f"<Member {len(self.epochs)} leases>"


class Group:
    """The members of one group and which of them holds which partition numbers."""

    def __init__(
        self,
        partitions: Mapping[str, int],
        committed: Callable[[Partition], tuple[int, str]],
        epochs: itertools.count[int],
        clock: Clock,
    ) -> None:
        """`committed`: the next offset, and its marks."""
        self._partitions = partitions
        self._committed = committed
        self._epochs = epochs
        self._clock = clock
        self._members: list[Member] = []
        self._holders: dict[int, Member | None] = dict.fromkeys(range(max(partitions.values(), default=0)))
        self._balancing = asyncio.Lock()

    async def join(self, member: Member) -> None:
        """Returns when the member holds its share."""
        self._members.append(member)
        try:
            await self._balance()
        except BaseException:
            await self.leave(member)
            raise

    async def leave(self, member: Member) -> None:
        if member in self._members:
            self._members.remove(member)
        self._release(member, [number for number, holder in self._holders.items() if holder is member])
        if not self._balancing.locked():  # else who balances will find what was let go, before it is done
            await self._balance()

    async def _balance(self) -> None:
        async with self._balancing:
            while True:
                target = share(self._holders, self._members)
                free = [number for number, holder in self._holders.items() if holder is None]
                self._grant({number: target[number] for number in free})
                moving = [number for number, holder in self._holders.items() if holder is not target[number]]
                if not moving:
                    return
                for holder in list(self._members):
                    await self._revoke(holder, [n for n in moving if self._holders[n] is holder])

    def _grant(self, wanted: Mapping[int, Member | None]) -> None:
        for member in self._members:
            numbers = [number for number, target in wanted.items() if target is member]
            leases = {
                partition: Lease(next(self._epochs), *self._committed(partition))
                for partition in self._all(numbers)
            }
            if not leases:
                continue
            for number in numbers:
                self._holders[number] = member
            member.epochs.update({partition: lease.epoch for partition, lease in leases.items()})
            member.source.begin({partition: lease.committed for partition, lease in leases.items()})
            member.listener.granted(leases)

    async def _revoke(self, member: Member, numbers: Sequence[int]) -> None:
        """A clean hand-over; a holder that fails to let go in time loses its lease."""
        partitions = self._all(numbers)
        if not partitions:
            return
        member.source.end(partitions)
        asked = asyncio.ensure_future(member.listener.revoking(partitions))
        limit = asyncio.ensure_future(self._clock.sleep(HAND_OVER))
        try:
            await asyncio.wait({asked, limit}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            clean = asked.done() and not asked.cancelled() and asked.exception() is None
            asked.cancel()
            limit.cancel()
            self._release(member, [number for number in numbers if self._holders[number] is member])
            if not clean and member in self._members:
                member.listener.lost(partitions)

    def _release(self, member: Member, numbers: Sequence[int]) -> None:
        partitions = self._all(numbers)
        member.source.end(partitions)
        for partition in partitions:
            member.epochs.pop(partition, None)
        for number in numbers:
            self._holders[number] = None

    def _all(self, numbers: Collection[int]) -> list[Partition]:
        return [
            Partition(topic, number)
            for topic, count in self._partitions.items()
            for number in numbers
            if number < count
        ]

    def __repr__(self) -> str:
        return f"<Group {len(self._members)} members, {len(self._holders)} numbers>"
