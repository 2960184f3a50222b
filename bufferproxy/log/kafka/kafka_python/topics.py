"""What the brokers say of the topics that a client asks for: kafka-python waits without a word for those that
are missing or denied."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from bufferproxy.log.kafka.engine import Failure, Trouble

CERTAIN_ANSWERS = 2
"""The first may be that to a question from before the topic was asked for."""


class TopicsAsked:
    """`cluster` is kafka-python's ClusterMetadata."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._answers = 0
        self._asked: dict[str, int] = {}
        self._told = -1
        cluster.add_listener(self._answered)

    def _answered(self, _: object) -> None:
        """On the I/O thread."""
        self._answers += 1

    def ask(self, topics: Collection[str]) -> None:
        """These, and no others."""
        self._asked = {topic: self._asked.get(topic, self._answers) for topic in topics}
        self._told = -1

    def failure(self, topic: str) -> Failure | None:
        if topic in self._cluster.unauthorized_topics:
            return Failure(Trouble.DENIED, f"{topic}: not authorized", topic)
        if self._cluster.partitions_for_topic(topic) is not None:
            return None
        if self._answers - self._asked.get(topic, self._answers) < CERTAIN_ANSWERS:
            return None
        return Failure(Trouble.MISSING, f"{topic}: the brokers know no such topic", topic)

    def news(self) -> list[Failure]:
        """What is wrong now, if there was an answer since the last call."""
        if self._told == self._answers:
            return []
        self._told = self._answers
        return [failure for topic in self._asked if (failure := self.failure(topic)) is not None]
