"""What the settings say about one service, as far as draining needs it."""

from __future__ import annotations

from typing import NamedTuple

from bufferproxy.drain.holding import Bounds
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Partition
from bufferproxy.settle.decide import RetryPolicy


class Plan(NamedTuple):
    """`order`: none, key or strict; `partitions` of the topic of requests; `rate` per second."""

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
