from __future__ import annotations

from collections.abc import Collection, Mapping

from kafka.errors import TopicAuthorizationFailedError, UnknownTopicOrPartitionError

from bufferproxy.log.kafka.asked import apart
from bufferproxy.log.kafka.engine import Trouble
from bufferproxy.records import Partition

PLACES = [Partition(topic, number) for topic in "abc" for number in range(2)]


def test_topics_that_are_denied_or_missing_cost_only_their_own_answers() -> None:
    asked: list[int] = []

    def ask(some: Collection[Partition]) -> Mapping[Partition, int]:
        asked.append(len(some))
        topics = {partition.topic for partition in some}
        if "a" in topics:
            raise TopicAuthorizationFailedError("a")
        if "b" in topics:
            raise UnknownTopicOrPartitionError("b")
        return dict.fromkeys(some, 7)

    found, failures = apart(PLACES, ask)
    assert found == {Partition("c", 0): 7, Partition("c", 1): 7}
    assert {failure.topic: failure.trouble for failure in failures} == {
        "a": Trouble.DENIED,
        "b": Trouble.MISSING,
    }
    assert asked == [6, 2, 2, 2]
