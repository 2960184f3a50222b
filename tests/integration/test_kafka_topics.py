"""Topics as they are made, and what is said of those that are not as they should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bufferproxy.clock import SystemClock
from bufferproxy.errors import LogUnusable
from bufferproxy.log.contract import Keep, Topic
from bufferproxy.log.kafka import KafkaLog, KafkaOptions, open_kafka
from bufferproxy.testing.kafka_broker import OTHER_CLUSTER_ID, broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from bufferproxy.testing.kafka_broker import Broker

pytestmark = pytest.mark.kafka


@pytest.fixture
async def log(kafka_broker: Broker) -> AsyncIterator[KafkaLog]:
    log = await open_kafka(kafka_broker.bootstrap, SystemClock(), KafkaOptions(replication=1))
    yield log
    await log.close()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"bufferproxy.{request.node.name}"


async def test_topics_are_made_as_they_are_described(log: KafkaLog, name: str) -> None:
    topics = [
        Topic(f"{name}.requests", 3, Keep(committed_by=name), 2 << 20),
        Topic(f"{name}.results", 3, Keep(seconds=4500.0)),
        Topic(f"{name}.states", 3, Keep(seconds=1_209_600.0, compact=True)),
        Topic(f"{name}.state", 1, Keep(compact=True)),
    ]
    await log.ensure(topics, create=True)
    problems = await log.describe(topics)
    assert len(problems) == len(topics)
    assert all("fewer than 3 copies" in problem for problem in problems), "one broker, so one copy"


async def test_what_is_wrong_with_a_topic_is_said(log: KafkaLog, name: str) -> None:
    await log.ensure([Topic(name, 2, Keep(compact=True), 100_000)], create=True)
    wanted = Topic(name, 4, Keep(committed_by="group"), 1 << 20)
    problems = "\n".join(await log.describe([wanted, Topic(f"{name}.other", 1, Keep())]))
    for expected in (
        f"{name}: 2 partitions instead of 4",
        f"{name}: max.message.bytes is 104096, at least 1052672 is needed",
        f"{name}: cleanup.policy is compact instead of delete",
        f"{name}.other: missing",
    ):
        assert expected in problems


async def test_a_topic_that_would_delete_what_waits_in_it_is_refused(log: KafkaLog, name: str) -> None:
    await log.ensure([Topic(name, 2, Keep(seconds=60.0))], create=True)
    with pytest.raises(LogUnusable, match=r"retention\.ms is 60000 instead of -1 \(.*topics describe"):
        await log.ensure([Topic(name, 2, Keep(committed_by="group"))], create=True)


async def test_a_topic_with_few_copies_is_warned_of(
    log: KafkaLog, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    await log.ensure([Topic(name, 2, Keep(committed_by="group"))], create=True)
    assert f"fewer than 3 copies lose acknowledged requests with their brokers ({name})" in caplog.text


async def test_a_topic_that_cannot_be_made_says_why(kafka_broker: Broker, name: str) -> None:
    log = await open_kafka(kafka_broker.bootstrap, SystemClock(), KafkaOptions(replication=3))
    with pytest.raises(LogUnusable, match=name):
        await log.ensure([Topic(name, 1, Keep())], create=True)
    await log.close()


async def test_an_option_that_kafka_python_does_not_know_is_refused() -> None:
    with pytest.raises(LogUnusable, match="lingering_ms"):
        await open_kafka("127.0.0.1:1", SystemClock(), KafkaOptions(options={"lingering_ms": 1}))


async def test_brokers_of_two_clusters_are_refused(kafka_broker: Broker, jars: Path) -> None:
    with broker(jars, cluster_id=OTHER_CLUSTER_ID) as other:
        both = f"{kafka_broker.bootstrap},{other.bootstrap}"
        with pytest.raises(LogUnusable, match="the brokers belong to several Kafka clusters"):
            await open_kafka(both, SystemClock(), KafkaOptions(replication=1))
