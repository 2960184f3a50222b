"""What the settings say about one service, as far as draining needs it."""

from __future__ import annotations

import math
from typing import NamedTuple

from bufferproxy.drain.holding import Bounds
from bufferproxy.ids import DELAYED, HIGH, LOW, REQUESTS
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Partition
from bufferproxy.settle.decide import RetryPolicy

_ACCEPTING = (REQUESTS, HIGH, LOW)


class Plan(NamedTuple):
    """`order`: none, key or strict; `window`: open requests of a partition with an order, from which on
    blocked keys must make room."""

    service: str
    topics: ServiceTopics
    order: str
    concurrency: int
    retry: RetryPolicy
    window: int = 10_000
    at_most_once: bool = False
    key_rate: float | None = None
    """Per second and ordering key."""
    timeout: float = math.inf
    """Seconds that an attempt takes at most."""
    commit_every: float = 0.1
    """Seconds between commits of what was answered."""

    @property
    def keyed(self) -> bool:
        return self.order != "none"

    @property
    def reads(self) -> tuple[str, ...]:
        """Topics that hold what is to be delivered."""
        topics = self.topics
        return topics.open if self.order == "key" else (*topics.fresh, topics.delayed)

    def accepted_in(self, topic: str) -> int:
        """The number of a topic that is read, as an id tells it."""
        return _ACCEPTING[self.topics.fresh.index(topic)] if topic in self.topics.fresh else DELAYED

    def bounds(self, partition: Partition) -> Bounds:
        if partition.topic == self.topics.delayed:
            return Bounds(open=max(256, 2 * self.concurrency))
        if partition.topic == self.topics.parked:
            return Bounds(open=self.window)
        # A blocked key keeps its followers here, so that others can pass: that needs room.
        return Bounds(open=self.window if self.keyed else max(1_000, 4 * self.concurrency))
