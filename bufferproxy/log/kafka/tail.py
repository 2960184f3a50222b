"""Partitions without a group, from given offsets on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from kafka import TopicPartition

from bufferproxy.log.contract import LogTail
from bufferproxy.log.kafka.feed import Feed
from bufferproxy.log.kafka.options import Clients, ours
from bufferproxy.log.kafka.poller import Poller
from bufferproxy.log.kafka.watch import Seen
from bufferproxy.records import Partition, Record

GIVE_UP = 5.0
"""Seconds that the threads of a stuck tail are given to end."""


class KafkaTail(LogTail):
    def __init__(self, consumer: Any, offsets: Mapping[Partition, int]) -> None:
        self.closed = False
        self.next = dict(offsets)
        """Of each partition, the offset after the last record that was taken."""
        self._feed = Feed()
        self._poller = Poller(consumer, self._feed)
        self._poller.start()

    @classmethod
    async def open(cls, clients: Clients, offsets: Mapping[Partition, int]) -> KafkaTail:
        return cls(await asyncio.to_thread(_consumer, clients, offsets), offsets)

    @property
    def topics(self) -> str:
        return ", ".join(sorted({partition.topic for partition in self.next}))

    async def fetch(self) -> Sequence[Record]:
        records = await self._feed.take()
        self.next.update([(record.partition, record.offset + 1) for record in records])
        return records

    def seen(self) -> Seen:
        """For the watchdog: a tail is in no group, so it cannot be out of one."""
        return Seen(
            stable=True,
            beating=True,
            served=self._feed.empty,
            # What has no position is not read either, though it should be.
            reading={**self.next, **self._poller.positions(self.next)},
        )

    async def close(self) -> None:
        await self._end(abandon=False)

    async def abandon(self) -> None:
        await self._end(abandon=True)

    async def give_up(self) -> None:
        """For one that is stuck: whether or not its threads ever end."""
        self.closed = True
        self._poller.stop(abandon=True)
        await asyncio.to_thread(self._poller.join, GIVE_UP)

    def fail(self, failure: Exception) -> None:
        """Whoever waits for records gets this."""
        self._feed.fail(failure)

    async def _end(self, *, abandon: bool) -> None:
        self.closed = True
        self._poller.stop(abandon=abandon)
        await self._poller.ended()

    def __repr__(self) -> str:
        return f"<KafkaTail {self.topics} {self._feed!r}>"


def _consumer(clients: Clients, offsets: Mapping[Partition, int]) -> Any:
    consumer = clients.consumer()
    with ours("opening a tail"):
        places = {TopicPartition(*partition): offset for partition, offset in offsets.items()}
        consumer.assign(list(places))
        for place, offset in places.items():
            consumer.seek(place, offset)
    return consumer
