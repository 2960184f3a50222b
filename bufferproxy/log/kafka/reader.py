"""One service's reader: what the membership owns for it, and what the fetcher reads of that."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from bufferproxy.errors import LogUnavailable
from bufferproxy.log.contract import NO_MARKS, Lease, LeaseListener, LogReader
from bufferproxy.log.kafka.commits import Commits
from bufferproxy.log.kafka.fetcher import Fetcher
from bufferproxy.log.topics import holds_fresh_requests
from bufferproxy.records import Partition, Record


class Member(Protocol):
    commits: Commits

    async def remove(self, reader: KafkaReader) -> None: ...


class KafkaReader(LogReader):
    def __init__(
        self, member: Member, fetcher: Fetcher, topics: Sequence[str], listener: LeaseListener
    ) -> None:
        self.topics = tuple(topics)
        self.leading = next(filter(holds_fresh_requests, topics), topics[0])
        """The topic whose partitions the group deals out; the others follow."""
        self.listener = listener
        self.leases: dict[Partition, Lease] = {}
        self._member = member
        self._fetcher = fetcher
        self._feed = fetcher.feed()
        self._closed = False

    # --- LogReader

    async def fetch(self) -> Sequence[Record]:
        return await self._feed.take()

    def after(self, record: Record) -> int:
        return record.offset + 1

    async def commit(
        self, offsets: Mapping[Partition, tuple[int, int]], marks: Mapping[Partition, str] = NO_MARKS
    ) -> Collection[Partition]:
        if self._closed:
            raise LogUnavailable("the reader is closed")
        return await self._member.commits.commit(offsets, marks)

    def pause(self, partition: Partition) -> None:
        if partition in self.leases:
            self._feed.pause(partition)

    def resume(self, partition: Partition) -> None:
        self._feed.resume(partition)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._feed.close()
            await self._member.remove(self)

    # --- told by the membership

    def reads(self, partition: Partition) -> bool:
        return partition.topic in self.topics

    def begin(self, leases: Mapping[Partition, Lease]) -> None:
        self.leases.update(leases)
        self.listener.granted(leases)
        self._fetcher.begin(self._feed, {partition: lease.committed for partition, lease in leases.items()})

    async def revoke(self, partitions: Collection[Partition]) -> None:
        """Returns when nothing of these is under way any more."""
        self._fetcher.end(partitions)
        held = set(self.leases.keys() & set(partitions))
        if held:
            await self.listener.revoking(held)

    def lose(self, partitions: Collection[Partition]) -> None:
        self._fetcher.end(partitions)
        held = set(self.leases.keys() & set(partitions))
        if held and not self._closed:
            self.listener.lost(held)

    def forget(self, partitions: Collection[Partition]) -> None:
        self._fetcher.end(partitions)
        for partition in partitions:
            self.leases.pop(partition, None)

    def __repr__(self) -> str:
        return f"<KafkaReader {self.leading} {len(self.leases)} leases {self._feed!r}>"
