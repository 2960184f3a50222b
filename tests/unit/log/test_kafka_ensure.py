"""Topics that were made a moment ago, on a cluster of several brokers."""

from __future__ import annotations

from typing import Any

from bufferproxy.log.contract import Keep, Topic
from bufferproxy.log.kafka.topics import Topics


class LateBroker:
    """Knows of the first topic, and not yet of what was made just now."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        return [
            {"name": name, "error_code": 0 if name == "old" else 3, "partitions": [None] * 3}
            for name in names
        ]

    def create_topics(self, topics: dict[str, Any]) -> None:
        self.made += topics

    def wait_for_topics(self, names: list[str]) -> None: ...


def test_what_was_made_has_the_partitions_it_was_made_with_whichever_broker_is_asked() -> None:
    admin = LateBroker()
    found = Topics(lambda: admin, 3).ensure([Topic("old", 5, Keep()), Topic("new", 7, Keep())], create=True)
    assert admin.made == ["new"]
    assert found == {"old": 3, "new": 7}
