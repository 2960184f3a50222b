"""What both engines promise to the Kafka log, against a real Kafka."""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from kafka import TopicPartition
from kafka.admin import NewTopic

from bufferproxy.log.kafka.engine import Failure, Trouble
from bufferproxy.records import Partition
from bufferproxy.testing.engine_world import PARTITIONS, SESSION_SECONDS, Kafka, Member

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufferproxy.testing.kafka_broker import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(90)]


@pytest.fixture(params=["librdkafka", "kafka-python"])
def kafka(request: pytest.FixtureRequest, kafka_broker: Broker) -> Iterator[Kafka]:
    kafka = Kafka(kafka_broker.bootstrap, request.param)
    try:
        yield kafka
    finally:
        kafka.close()


# --- records out


def test_records_are_stored_in_the_order_of_sending_and_say_where(kafka: Kafka) -> None:
    topic = kafka.topic(2)
    sent = kafka.sender(topic)
    places = [Partition(topic, number) for number in range(2)]
    for number in range(2000):
        for place in places:
            assert sent.send(place, b"%d" % number, (place, number)) is None
    for place in places:
        for number in range(2000):
            assert sent.outcome((place, number)) == (number, None)
    fetched = kafka.fetcher()
    fetched.client.begin(dict.fromkeys(places, 0))
    fetched.until(lambda: all(len(fetched.records[place]) == 2000 for place in places))
    for place in places:
        assert [(r.offset, r.value) for r in fetched.records[place]] == [(n, b"%d" % n) for n in range(2000)]


def test_a_record_comes_back_as_it_was_sent(kafka: Kafka) -> None:
    topic = kafka.topic(1)
    sent = kafka.sender(topic)
    place = Partition(topic, 0)
    odd = (("a", b"1"), ("a", b"2"), ("", b""), ("ü", bytes(range(256))), ("a", b""))
    sent.client.send(place, None, b"v", odd, 1_700_000_000_123, "no key")
    sent.client.send(place, b"", None, (), 1_700_000_000_000, "tombstone")
    sent.client.send(place, b"\x00k", b"", (), 1_700_000_000_000, "empty")
    assert [sent.outcome(owner)[0] for owner in ("no key", "tombstone", "empty")] == [0, 1, 2]
    fetched = kafka.fetcher()
    fetched.client.begin({place: 0})
    fetched.until(lambda: len(fetched.records[place]) == 3)
    first, second, third = fetched.records[place]
    assert (first.key, first.value, first.headers, first.appended_at) == (None, b"v", odd, 1_700_000_000.123)
    assert (second.key, second.value, second.headers) == (b"", b"", ())
    assert (third.key, third.value) == (b"\x00k", b"")


def test_a_tombstone_is_not_an_empty_record(kafka: Kafka) -> None:
    """Told by Kafka's own compaction rule: a topic that is compacted refuses a record without a key."""
    topic = kafka.topic(1, cleanup_policy="compact")
    sent = kafka.sender(topic)
    sent.client.send(Partition(topic, 0), None, b"v", (), int(time.time() * 1000), "no key")
    assert sent.outcome("no key") == (-1, Trouble.INVALID)
    sent.client.send(Partition(topic, 0), b"", b"v", (), int(time.time() * 1000), "empty key")
    assert sent.outcome("empty key") == (0, None)


def test_a_record_that_is_refused_is_refused_alone(kafka: Kafka) -> None:
    small, early, other = (
        kafka.topic(1, max_message_bytes=2000),
        kafka.topic(1, message_timestamp_after_max_ms=60_000),
        kafka.topic(1),
    )
    sent = kafka.sender(small, early, other)
    for number in range(3):
        sent.send(Partition(small, 0), bytes(5000), ("large", number))
        sent.send(Partition(early, 0), b"x", ("late", number), at=time.time() + 3600)
        sent.send(Partition(other, 0), b"x", ("other", number))
        assert sent.outcome(("large", number)) == (-1, Trouble.TOO_LARGE)
        assert sent.outcome(("late", number)) == (-1, Trouble.INVALID)
        assert sent.outcome(("other", number)) == (number, None)
        for topic in (small, early):
            sent.send(Partition(topic, 0), b"x", (topic, number))
            assert sent.outcome((topic, number)) == (number, None)
    assert sent.client.dead is None


def test_large_records_go_and_come(kafka: Kafka) -> None:
    topic = kafka.topic(1, max_message_bytes=40 << 20)
    sent = kafka.sender(topic)
    place = Partition(topic, 0)
    for number, size in enumerate((100, 12 << 20, 200_000, 100)):
        sent.send(place, bytes(size), number)
    assert [sent.outcome(number) for number in range(4)] == [(number, None) for number in range(4)]
    fetched = kafka.fetcher()
    fetched.client.begin({place: 0})
    fetched.until(lambda: len(fetched.records[place]) == 4)
    assert [len(record.value) for record in fetched.records[place]] == [100, 12 << 20, 200_000, 100]


def test_many_at_once_fit_a_topic_that_takes_little(kafka: Kafka) -> None:
    topic = kafka.topic(1, max_message_bytes=128 << 10)
    sent = kafka.sender(topic)
    for number in range(400):
        assert sent.send(Partition(topic, 0), bytes(5000), number) is None
    assert [sent.outcome(number) for number in range(400)] == [(number, None) for number in range(400)]


def test_a_topic_that_is_missing_is_said_to_be_and_holds_up_nobody(kafka: Kafka) -> None:
    there, missing = kafka.topic(1), f"missing-{uuid.uuid4().hex[:6]}"
    sent = kafka.sender()
    found = sent.client.warm([missing, there], 1.0)
    assert {topic: (f.trouble, f.topic) for topic, f in found.items()} == {
        missing: (Trouble.MISSING, missing)
    }
    failure = sent.send(Partition(missing, 0), b"x", "lost")
    sent.send(Partition(there, 0), b"x", "there")
    assert sent.outcome("there") == (0, None)
    assert (failure.trouble if failure else sent.outcome("lost")[1]) is Trouble.MISSING
    assert missing not in kafka.admin.list_topics()


def test_a_topic_that_is_deleted_and_made_anew_takes_records_again(kafka: Kafka) -> None:
    topic = kafka.topic(1)
    sent = kafka.sender(topic)
    sent.send(Partition(topic, 0), b"x", "before")
    assert sent.outcome("before") == (0, None)
    kafka.admin.delete_topics([topic])
    failure = sent.send(Partition(topic, 0), b"x", "gone")
    assert (failure.trouble if failure else sent.outcome("gone")[1]) is not None
    kafka.admin.create_topics([NewTopic(topic, 1, 1)])
    deadline = time.monotonic() + 20
    for attempt in range(1000):
        assert time.monotonic() < deadline
        sent.client.warm([topic], 2.0)
        if sent.send(Partition(topic, 0), b"x", attempt) is None and sent.outcome(attempt) == (0, None):
            break
    assert sent.client.dead is None


def test_a_sender_that_is_closed_leaves_no_thread_and_nothing_undecided(kafka: Kafka) -> None:
    topic = kafka.topic(1)
    before = set(threading.enumerate())
    sent = kafka.sender(topic)
    for number in range(2000):
        sent.send(Partition(topic, 0), bytes(400), number)
    sent.client.close(0)
    assert len(sent.decided) == 2000
    assert set(threading.enumerate()) <= before


# --- records in


@pytest.fixture
def filled(kafka: Kafka) -> tuple[Partition, Partition]:
    """Two partitions with 3000 records each."""
    topic = kafka.topic(2)
    sent = kafka.sender(topic)
    places = Partition(topic, 0), Partition(topic, 1)
    for number in range(3000):
        for place in places:
            sent.send(place, bytes(100), (place, number))
    for place in places:
        assert sent.outcome((place, 2999))[1] is None
    return places


def test_a_partition_that_is_paused_brings_nothing_and_loses_nothing(
    kafka: Kafka, filled: tuple[Partition, Partition]
) -> None:
    """Over and over, at any place within a fetch, while the other partition is read to its end."""
    paused, other = filled
    fetched = kafka.fetcher()
    fetched.client.begin({paused: 0, other: 0})
    deadline = time.monotonic() + 40
    while len(fetched.records[paused]) < 3000 or len(fetched.records[other]) < 3000:
        assert time.monotonic() < deadline, {p: len(r) for p, r in fetched.records.items()}
        fetched.poll()
        fetched.client.pause([paused])
        for _ in range(3):
            assert not any(record.partition == paused for record in fetched.poll(0.05))
        fetched.client.resume([paused])
    assert {p: fetched.offsets(p) for p in filled} == {p: list(range(3000)) for p in filled}


def test_a_partition_that_is_begun_anew_is_read_from_there(
    kafka: Kafka, filled: tuple[Partition, Partition]
) -> None:
    one, other = filled
    fetched = kafka.fetcher()
    client = fetched.client
    client.begin({one: 0, other: 2999})
    fetched.until(lambda: bool(fetched.records[one] and fetched.records[other]))
    client.end([one])
    assert not any(record.partition == one for _ in range(3) for record in fetched.poll(0.1))
    client.begin({one: 1500})
    assert client.position(one) == 1500
    fetched.records.clear()
    fetched.until(lambda: bool(fetched.records[one]))
    assert fetched.offsets(one)[0] == 1500
    assert client.position(one) == fetched.offsets(one)[-1] + 1
    client.begin({one: 10})  # without an end before
    fetched.records.clear()
    fetched.until(lambda: bool(fetched.records[one]))
    assert fetched.offsets(one)[0] == 10
    assert client.bounds(one, 5) == (0, 3000)


def test_what_was_deleted_is_passed_over(kafka: Kafka, filled: tuple[Partition, Partition]) -> None:
    one, _ = filled
    kafka.admin.delete_records({TopicPartition(*one): 1000})
    fetched = kafka.fetcher()
    assert fetched.client.bounds(one, 5) == (1000, 3000)
    fetched.client.begin({one: 10})
    fetched.until(lambda: len(fetched.records[one]) == 2000)
    assert fetched.offsets(one) == list(range(1000, 3000))


def test_a_record_is_there_soon_after_it_was_stored(kafka: Kafka) -> None:
    topic = kafka.topic(1)
    place = Partition(topic, 0)
    sent, fetched = kafka.sender(topic), kafka.fetcher()
    fetched.client.begin({place: 0})
    delays = []
    for number in range(20):
        fetched.poll(0.05)
        began = time.monotonic()
        sent.send(place, b"x", number)
        fetched.until(lambda number=number: len(fetched.records[place]) > number)  # type: ignore[misc]
        delays.append(time.monotonic() - began)
    assert sorted(delays)[10] < 0.1


def test_all_partitions_of_many_topics_are_read(kafka: Kafka) -> None:
    topics = kafka.topics(7, 4)
    sent, fetched = kafka.sender(*topics), kafka.fetcher()
    assert not sent.missing
    places = [Partition(topic, number) for topic in topics for number in range(4)]
    fetched.client.begin(dict.fromkeys(places, 0))
    for number in range(50):
        for place in places:
            sent.send(place, bytes(200), (place, number))
    fetched.until(lambda: all(len(fetched.records[place]) == 50 for place in places))
    assert not fetched.failures


def test_a_topic_that_cannot_be_read_is_named_and_the_others_go_on(kafka: Kafka) -> None:
    there, missing = kafka.topic(1), f"missing-{uuid.uuid4().hex[:6]}"
    sent, fetched = kafka.sender(there), kafka.fetcher()
    fetched.client.begin({Partition(missing, 0): 0, Partition(there, 0): 0})
    sent.send(Partition(there, 0), b"x", 0)
    fetched.until(lambda: bool(fetched.records[Partition(there, 0)] and fetched.failures))
    assert {(each.topic, each.trouble) for each in fetched.failures} == {(missing, Trouble.MISSING)}
    fetched.client.end([Partition(missing, 0)])
    kafka.admin.create_topics([NewTopic(missing, 1, 1)])
    sent.client.warm([missing], 5)
    sent.send(Partition(missing, 0), b"y", 1)
    assert sent.outcome(1) == (0, None)
    fetched.client.begin({Partition(missing, 0): 0})
    fetched.until(lambda: bool(fetched.records[Partition(missing, 0)]))


# --- the group


def test_members_share_the_partitions_and_take_over_from_who_leaves(kafka: Kafka) -> None:
    """How evenly is the assignor's matter."""
    topics = kafka.topics(2, 3)
    one = kafka.member(topics)
    one.has(6)
    two = kafka.member(topics)
    _share(6, one, two)
    three = kafka.member(topics)
    _share(6, one, two, three)
    two.close()
    _share(6, one, three)
    assert not any(each.losses or each.failures for each in (one, two, three))


def _share(number: int, *members: Member) -> None:
    """Waits until each has some, all have them all, and no partition has two owners."""
    for each in members:
        each.until(
            lambda: (
                all(member.owned and not member.leaving and member.client.joined for member in members)
                and sum(len(member.owned) for member in members) == number
            )
        )
    assert len(set().union(*[member.owned for member in members])) == number


def test_what_is_revoked_stays_with_its_holder_until_it_is_released(kafka: Kafka) -> None:
    """For longer than the session: heartbeats go on, and so do commits of all."""
    topic = kafka.topic()
    one = kafka.member([topic], hold=True)
    one.has(PARTITIONS)
    two = kafka.member([topic])
    one.until(lambda: len(one.leaving) == PARTITIONS // 2)
    assert not one.client.joined
    leaving, kept = min(one.leaving), min(one.owned - one.leaving)
    until, commits = time.monotonic() + SESSION_SECONDS + 0.5, 0
    while time.monotonic() < until:
        commits += 1
        assert one.commit({leaving: (commits, f"marks {commits}"), kept: (7, "")}) is None
        time.sleep(0.2)
    assert not two.owned
    one.release()
    two.until(lambda: len(two.owned) == PARTITIONS // 2)
    one.has(PARTITIONS // 2)
    assert not one.owned & two.owned
    found = kafka.committed(topic)[TopicPartition(*leaving)]
    assert (found.offset, found.metadata.rstrip("\0")) == (commits, f"marks {commits}")
    assert not one.losses
    two.close()
    one.has(PARTITIONS)


def test_commits_of_partitions_that_are_not_assigned_are_taken(kafka: Kafka) -> None:
    topic, side = kafka.topics(2)
    one = kafka.member([topic])
    one.has(PARTITIONS)
    marks = "ü" * 500
    assert one.commit({Partition(side, 3): (41, marks), Partition(topic, 0): (1, "")}) is None
    found = kafka.committed(topic)
    assert {(place.topic, place.partition): each.offset for place, each in found.items()} == {
        (side, 3): 41,
        (topic, 0): 1,
    }
    # The Python wrapper of librdkafka takes the end of a C string with it.
    assert found[TopicPartition(side, 3)].metadata.rstrip("\0") == marks


def test_commits_are_answered_each_with_its_own_answer(kafka: Kafka) -> None:
    topic = kafka.topic()
    one = kafka.member([topic])
    one.has(PARTITIONS)
    answers: list[tuple[int, Trouble | None]] = []
    answered = threading.Event()

    def done(number: int, failure: Failure | None) -> None:
        answers.append((number, failure and failure.trouble))
        if len(answers) == 40:
            answered.set()

    for number in range(40):
        missing = number % 4 == 3
        place = Partition("not-there", 0) if missing else Partition(topic, number % PARTITIONS)
        one.client.commit({place: (number, "")}, lambda failure, number=number: done(number, failure))
    assert answered.wait(20)
    assert sorted(number for number, _ in answers) == list(range(40))
    troubles = dict(answers)
    assert all(troubles[n] in (Trouble.MISSING, Trouble.PASSING) for n in range(3, 40, 4))
    assert all(troubles[n] in (None, Trouble.PASSING) for n in range(40) if n % 4 != 3)
    assert troubles[0] is None


def test_who_has_left_commits_nothing(kafka: Kafka) -> None:
    """Not even into a group that is empty, which would take it from anybody."""
    topic = kafka.topic()
    one = kafka.member([topic])
    one.has(PARTITIONS)
    one.close()
    assert one.commit({Partition(topic, 0): (5, "")}) is not None
    assert not kafka.committed(topic)


def test_a_member_whose_session_is_over_is_told_and_joins_again(kafka: Kafka) -> None:
    """Removed by an administrator, as a coordinator does at the end of a session."""
    topic = kafka.topic()
    one = kafka.member([topic], instance="w-1")
    one.has(PARTITIONS)
    _remove(kafka, topic, "w-1")
    one.until(lambda: one.losses == 1 or one.failed is not None, 15)
    failure = one.commit({Partition(topic, 0): (5, "")}) if one.failed is None else None
    assert failure is None or failure.trouble in (Trouble.NOT_A_MEMBER, Trouble.REBALANCING, Trouble.PASSING)
    assert one.failed is None
    one.has(PARTITIONS)


def test_a_session_that_ends_during_a_hand_over_is_noticed(kafka: Kafka) -> None:
    if kafka.library == "kafka-python":
        return  # its poll waits for the end of a hand-over, and it is noticed after that
    topic = kafka.topic()
    one = kafka.member([topic], hold=True, instance="w-1")
    one.has(PARTITIONS)
    two = kafka.member([topic], instance="w-2")
    one.until(lambda: len(one.leaving) == PARTITIONS // 2)
    _remove(kafka, topic, "w-1")
    two.until(lambda: len(two.owned) == PARTITIONS)
    failure = one.commit({min(one.leaving): (5, "")}) if one.failed is None and not one.losses else None
    assert failure is None or failure.trouble in (Trouble.NOT_A_MEMBER, Trouble.REBALANCING)
    one.until(lambda: one.failed is not None or one.losses > 0, 15)
    assert not kafka.committed(topic)


def _remove(kafka: Kafka, group: str, instance: str) -> None:
    from kafka.admin import MemberToRemove

    kafka.admin.remove_group_members(group, [MemberToRemove(group_instance_id=instance)])


def test_a_static_member_that_is_back_within_its_session_has_its_partitions_again(kafka: Kafka) -> None:
    topic = kafka.topic()
    one, two = (kafka.member([topic], instance=name, session=8) for name in ("w-1", "w-2"))
    for each in (one, two):
        each.has(PARTITIONS // 2)
    before, kept = set(one.owned), set(two.owned)
    one.close()
    again = kafka.member([topic], instance="w-1", session=8)
    again.has(PARTITIONS // 2)
    assert again.owned == before
    assert two.owned == kept
    assert not two.losses


def test_a_member_whose_worker_id_is_taken_is_told_so(kafka: Kafka) -> None:
    topic = kafka.topic()
    one = kafka.member([topic], instance="w")
    one.has(PARTITIONS)
    two = kafka.member([topic], instance="w")
    one.until(lambda: one.failed is not None, 15)
    assert one.failed is not None
    assert one.failed.trouble is Trouble.FENCED
    assert "another worker uses the same `worker.id`" in one.failed.text
    two.has(PARTITIONS)


def test_a_topic_that_is_missing_keeps_nobody_from_the_others(kafka: Kafka) -> None:
    topic = kafka.topic()
    missing = f"missing-{uuid.uuid4().hex[:6]}"
    one = kafka.member([topic, missing])
    one.until(lambda: len(one.owned) == PARTITIONS and bool(one.failures))
    assert {(each.topic, each.trouble) for each in one.failures} == {(missing, Trouble.MISSING)}
    kafka.admin.create_topics([NewTopic(missing, 2, 1)])
    one.until(lambda: len(one.owned) == PARTITIONS + 2, 35)


def test_what_a_member_subscribes_to_can_change(kafka: Kafka) -> None:
    first, second = kafka.topics(2, 3)
    one = kafka.member([first])
    one.has(3)
    one.client.subscribe([first, second])
    one.has(6)
    one.client.subscribe([second])
    one.has(3)
    assert {partition.topic for partition in one.owned} == {second}
    assert not one.losses


def test_a_member_can_be_closed_in_the_middle_of_a_hand_over(kafka: Kafka) -> None:
    if kafka.library == "kafka-python":
        return  # its poll waits for the end of a hand-over: whoever closes it ends that first
    topic = kafka.topic()
    one = kafka.member([topic], hold=True)
    one.has(PARTITIONS)
    two = kafka.member([topic])
    one.until(lambda: bool(one.leaving))
    began = time.monotonic()
    one.close()
    assert time.monotonic() - began < 5
    two.has(PARTITIONS)
