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
from bufferproxy.records import Partition, Record


class KafkaTail(LogTail):
    def __init__(self, consumer: Any) -> None:
        self.closed = False
        self._feed = Feed()
        self._poller = Poller(consumer, self._feed)
        self._poller.start()

    @classmethod
    async def open(cls, clients: Clients, offsets: Mapping[Partition, int]) -> KafkaTail:
        return cls(await asyncio.to_thread(_consumer, clients, offsets))

    async def fetch(self) -> Sequence[Record]:
        return await self._feed.take()

    async def close(self) -> None:
        await self._end(abandon=False)

    async def abandon(self) -> None:
        await self._end(abandon=True)

    async def _end(self, *, abandon: bool) -> None:
        self.closed = True
        self._poller.stop(abandon=abandon)
        await asyncio.to_thread(self._poller.join)

    def __repr__(self) -> str:
        return f"<KafkaTail {self._feed!r}>"


def _consumer(clients: Clients, offsets: Mapping[Partition, int]) -> Any:
    consumer = clients.consumer()
    with ours("opening a tail"):
        places = {TopicPartition(*partition): offset for partition, offset in offsets.items()}
        consumer.assign(list(places))
        for place, offset in places.items():
            consumer.seek(place, offset)
    return consumer
