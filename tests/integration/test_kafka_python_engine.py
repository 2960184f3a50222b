"""The engine on kafka-python, where it goes its own way: beside the suite that both engines pass."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
from kafka import TopicPartition

from bufferproxy.log.kafka.engine import FETCHED, Failure, Trouble
from bufferproxy.records import Partition, Record
from bufferproxy.testing.engine_world import PARTITIONS, Kafka, Member, Sent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufferproxy.log.kafka.engine import FetchClient
    from bufferproxy.testing.kafka_broker import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(90)]


@pytest.fixture
def kafka(kafka_broker: Broker) -> Iterator[Kafka]:
    kafka = Kafka(kafka_broker.bootstrap, "kafka-python", session=6.0)
    yield kafka
    kafka.close()


def test_a_record_that_is_refused_does_not_end_the_producer(kafka: Kafka) -> None:
    small, early, other = (
        kafka.topic(1, max_message_bytes=2000),
        kafka.topic(1, message_timestamp_after_max_ms=60_000),
        kafka.topic(1),
    )
    sent = Sent(kafka.engine(), small, early, other)
    for number in range(3):
        sent.queue(Partition(small, 0), bytes(5000), ("large", number))
        sent.queue(Partition(early, 0), b"x", ("late", number), at=time.time() + 3600)
        sent.queue(Partition(other, 0), b"x", ("other", number))
        assert sent.outcome(("large", number)) == (-1, Trouble.TOO_LARGE)
        assert sent.outcome(("late", number)) == (-1, Trouble.INVALID)
        assert sent.outcome(("other", number)) == (number, None)
        for topic in (small, early):
            sent.queue(Partition(topic, 0), b"x", (topic, number))
            assert sent.outcome((topic, number)) == (number, None)
    sent.client.close(5)


def test_a_topic_that_is_missing_is_said_to_be(kafka: Kafka) -> None:
    there = kafka.topic(1)
    sent = Sent(kafka.engine())
    missing = sent.client.warm(["nothing-here", there], 1.0)
    assert {topic: failure.trouble for topic, failure in missing.items()} == {"nothing-here": Trouble.MISSING}
    failure = sent.client.send(Partition("nothing-here", 0), None, b"x", (), 0, "x")
    assert failure is not None
    assert failure.trouble is Trouble.MISSING
    sent.queue(Partition(there, 0), b"x", "there")
    assert sent.outcome("there") == (0, None)
    sent.client.close(5)
    fetcher = kafka.engine().fetcher(wait=0.1)
    fetcher.begin({Partition("nothing-here", 0): 0, Partition(there, 0): 0})
    records: list[Record] = []
    failures: list[Failure] = []
    while not records or not failures:
        polled = fetcher.poll(0.2)
        records += polled.records
        failures += polled.failures
    assert [record.value for record in records] == [b"x"]
    assert {(each.topic, each.trouble) for each in failures} == {("nothing-here", Trouble.MISSING)}
    fetcher.close()


def test_a_closed_producer_leaves_no_thread_and_nothing_undecided(kafka: Kafka) -> None:
    before = set(threading.enumerate())
    topic = kafka.topic(1)
    sent = Sent(kafka.engine(), topic)
    for number in range(2000):
        sent.queue(Partition(topic, 0), bytes(400), number)
    sent.client.close(0)
    assert len(sent.decided) == 2000
    assert set(threading.enumerate()) <= before


@pytest.fixture
def filled(kafka: Kafka) -> str:
    """Two partitions with 3000 records each."""
    topic = kafka.topic(2)
    sent = Sent(kafka.engine(), topic)
    for number in range(3000):
        for partition in range(2):
            sent.queue(Partition(topic, partition), bytes(100), (partition, number))
    for partition in range(2):
        assert sent.outcome((partition, 2999))[1] is None
    sent.client.close(5)
    return topic


def test_what_was_fetched_of_a_partition_that_is_paused_comes_when_it_is_resumed(
    kafka: Kafka, filled: str
) -> None:
    """Over and over, at any place within a fetch, while the other partition is read to its end."""
    fetcher = kafka.engine().fetcher(wait=0.1)
    paused, other = Partition(filled, 0), Partition(filled, 1)
    fetcher.begin({paused: 0, other: 0})
    got: dict[Partition, list[int]] = defaultdict(list)
    deadline = time.monotonic() + 60
    while len(got[paused]) < 3000 or len(got[other]) < 3000:
        assert time.monotonic() < deadline, {p: len(offsets) for p, offsets in got.items()}
        _read(fetcher, got)
        fetcher.pause([paused])
        for _ in range(3):
            before = len(got[paused])
            _read(fetcher, got)
            assert len(got[paused]) == before
        fetcher.resume([paused])
    assert dict(got) == {p: list(range(3000)) for p in (paused, other)}
    fetcher.close()


def _read(fetcher: FetchClient, got: dict[Partition, list[int]]) -> list[Record]:
    records = list(fetcher.poll(0.2).records)
    assert len(records) <= FETCHED
    for record in records:
        got[record.partition].append(record.offset)
    return records


def test_a_partition_that_is_begun_anew_is_read_from_there(kafka: Kafka, filled: str) -> None:
    fetcher = kafka.engine().fetcher(wait=0.1)
    partition = Partition(filled, 0)
    fetcher.begin({partition: 0, Partition(filled, 1): 2999})
    got: dict[Partition, list[int]] = defaultdict(list)
    while not got[partition]:
        _read(fetcher, got)
    fetcher.end([partition])
    assert not any(record.partition == partition for record in fetcher.poll(0.3).records)
    fetcher.begin({partition: 1500})
    assert fetcher.position(partition) == 1500
    got.clear()
    while not got[partition]:
        _read(fetcher, got)
    assert got[partition][0] == 1500
    assert fetcher.position(partition) == got[partition][-1] + 1
    assert fetcher.bounds(partition, 5) == (0, 3000)
    fetcher.close()


def test_what_is_revoked_goes_to_the_next_when_it_is_released_and_is_committed_until_then(
    kafka: Kafka,
) -> None:
    topic = kafka.topic()
    one = Member(kafka.engine(), topic, [topic], hold=True)
    one.until(lambda: len(one.owned) == PARTITIONS and one.client.joined)
    two = Member(kafka.engine(), topic, [topic])
    one.until(lambda: len(one.leaving) == PARTITIONS // 2)
    assert not one.client.joined
    leaving = min(one.leaving)
    kept = min(one.owned - one.leaving)
    side = Partition("another-topic-that-is-not-there", 0)
    assert one.commit({leaving: (5, "marks"), kept: (7, "")}) is None
    time.sleep(1.5)  # heartbeats go on, and nobody else gets it
    assert not two.owned
    assert one.commit({leaving: (6, "more marks")}) is None
    one.release()
    two.until(lambda: len(two.owned) == PARTITIONS // 2)
    assert not one.owned & two.owned
    found = kafka.committed(topic)
    assert (found[TopicPartition(*leaving)].offset, found[TopicPartition(*leaving)].metadata) == (
        6,
        "more marks",
    )
    failure = one.commit({side: (1, "")})
    assert failure is None or failure.trouble is Trouble.MISSING
    assert not one.losses
    two.close()
    one.until(lambda: len(one.owned) == PARTITIONS)
    one.close()
    assert not one.failures


def test_a_commit_of_who_is_no_member_any_more_is_not_done(kafka: Kafka) -> None:
    topic = kafka.topic()
    one = Member(kafka.engine(), topic, [topic])
    one.until(lambda: len(one.owned) == PARTITIONS)
    one.close()
    failure = one.commit({Partition(topic, 0): (5, "")})
    assert failure is not None
    assert not kafka.committed(topic)


def test_a_member_whose_worker_id_is_taken_is_told_so(kafka: Kafka) -> None:
    topic = kafka.topic()
    one = Member(kafka.engine(instance="w"), topic, [topic])
    one.until(lambda: len(one.owned) == PARTITIONS)
    two = Member(kafka.engine(instance="w"), topic, [topic])
    one.until(lambda: one.failed is not None, 15)
    assert one.failed is not None
    assert one.failed.trouble is Trouble.FENCED
    assert "another worker uses the same `worker.id`" in one.failed.text
    assert not one.owned
    two.until(lambda: len(two.owned) == PARTITIONS)
    one.client.close(leave=False)
    two.close()


def test_a_topic_that_is_missing_does_not_keep_the_others_from_being_dealt_out(kafka: Kafka) -> None:
    topic = kafka.topic()
    one = Member(kafka.engine(), topic, [topic, "nothing-here"])
    one.until(lambda: len(one.owned) == PARTITIONS and bool(one.failures))
    assert {(each.topic, each.trouble) for each in one.failures} == {("nothing-here", Trouble.MISSING)}
    one.close()


@pytest.mark.parametrize("first", ["kafka-python", "librdkafka"])
def test_a_group_may_have_members_of_both_libraries(kafka: Kafka, first: str) -> None:
    """Whoever leads: each partition has one owner at a time, and none is lost."""
    topic = kafka.topic()
    second = "kafka-python" if first == "librdkafka" else "librdkafka"
    one = Member(kafka.engine(library=first), topic, [topic], hold=True)
    one.until(lambda: len(one.owned) == PARTITIONS)
    two = Member(kafka.engine(library=second), topic, [topic])
    one.until(lambda: len(one.leaving) == PARTITIONS // 2)
    assert not two.owned
    one.release()
    two.until(lambda: len(two.owned) == PARTITIONS // 2)
    assert not one.owned & two.owned
    one.close()
    two.until(lambda: len(two.owned) == PARTITIONS)
    assert not one.losses
    assert not two.losses
    two.close()
