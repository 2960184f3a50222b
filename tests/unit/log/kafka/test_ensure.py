"""Topics that were made a moment ago, on a cluster of several brokers."""

from __future__ import annotations

from typing import Any

import pytest

from bufferproxy.errors import LogUnavailable
from bufferproxy.log.contract import Keep, Topic
from bufferproxy.log.kafka.kafka_python.errors import passes
from bufferproxy.log.kafka.topics import Topics


class LateBroker:
    """Knows of the first topic, and not yet of what was made just now."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "error_code": 0 if name == "old" else 3,
                "partitions": [{"replica_nodes": [1]}] * 3,
            }
            for name in names
        ]

    def create_topics(self, topics: dict[str, Any]) -> None:
        self.made += topics

    def wait_for_topics(self, names: list[str]) -> None: ...

    def describe_configs(self, resources: list[Any], **_: object) -> dict[str, dict[str, Any]]:
        known = {"max.message.bytes": {"value": "1000"}}
        return {"topic": {one.name: known if one.name == "old" else {} for one in resources}}


def test_what_was_made_has_the_partitions_it_was_made_with_whichever_broker_is_asked() -> None:
    admin = LateBroker()
    found = Topics(lambda: admin, 3).ensure([Topic("old", 5, Keep()), Topic("new", 7, Keep())], create=True)
    assert admin.made == ["new"]
    assert found == {"old": 3, "new": 7}


def test_a_broker_that_has_not_heard_of_a_topic_is_asked_again_and_not_taken_at_its_word() -> None:
    """It describes it without settings, and a limit of 0 bytes would be a reason not to start."""
    admin = LateBroker()
    topics = Topics(lambda: admin, 3)
    assert topics.found([Topic("old", 3, Keep())])["old"].settings == {"max.message.bytes": "1000"}
    admin.describe_topics = lambda names: [  # type: ignore[method-assign]
        {"name": name, "error_code": 0, "partitions": [{"replica_nodes": [1]}]} for name in names
    ]
    with pytest.raises(LogUnavailable) as raised:
        topics.found([Topic("old", 3, Keep()), Topic("new", 7, Keep())])
    assert passes(raised.value.__cause__)
