"""What is said of topics that exist already, and which of them a start refuses."""

from __future__ import annotations

import pytest

from bufferproxy.errors import LogUnusable
from bufferproxy.log.contract import Keep, Topic
from bufferproxy.log.kafka.terms import BATCH_OVERHEAD, Found, judged, settings_of, takes

REQUESTS = Topic("a.requests", 12, Keep(committed_by="a"), 1 << 20)
RESULTS = Topic("a.results", 12, Keep(seconds=4500.0), 1 << 20)


def found(topic: Topic, copies: int = 3, partitions: int = 12, **but: object) -> Found:
    settings = {name: str(value) for name, value in settings_of(topic, 3).items()}
    settings.update({name.replace("_", "."): str(value) for name, value in but.items()})
    return Found(partitions, copies, settings)


def warnings(topic: Topic, is_: Found, replication: int = 3) -> list[str]:
    return judged([topic], {topic.name: is_}, replication)


def test_topics_as_they_are_made_are_fine() -> None:
    assert warnings(REQUESTS, found(REQUESTS)) == []


@pytest.mark.parametrize(
    ("is_", "said"),
    [
        (found(REQUESTS, copies=2), "fewer than 3 copies"),
        (found(REQUESTS, copies=2), "replication 2 instead of 3"),
        (found(REQUESTS, partitions=6), "6 partitions instead of 12"),
        (found(REQUESTS, min_insync_replicas=1), "min.insync.replicas is 1, at least 2 is needed"),
        (found(REQUESTS, unclean_leader_election_enable="true"), "unclean.leader.election.enable is true"),
    ],
)
def test_what_is_less_safe_than_it_should_be_is_warned_of(is_: Found, said: str) -> None:
    assert any(said in line and line.endswith("(a.requests)") for line in warnings(REQUESTS, is_))


@pytest.mark.parametrize(
    ("is_", "said"),
    [
        (found(REQUESTS, retention_ms=604_800_000), "retention.ms is 604800000 instead of -1"),
        (found(REQUESTS, retention_bytes=1 << 30), "retention.bytes is 1073741824 instead of -1"),
        (found(REQUESTS, cleanup_policy="compact"), "cleanup.policy is compact instead of delete"),
        (found(REQUESTS, max_message_bytes=1 << 20), "max.message.bytes is 1048576, at least 1052672"),
    ],
)
def test_a_topic_that_deletes_or_refuses_what_was_accepted_is_refused(is_: Found, said: str) -> None:
    with pytest.raises(LogUnusable, match=said):
        warnings(REQUESTS, is_)


def test_what_is_kept_for_a_while_only_may_be_kept_for_another_while() -> None:
    assert warnings(RESULTS, found(RESULTS, retention_ms=1000)) == [
        "retention.ms is 1000 instead of 4500000 (a.results)"
    ]


def test_many_topics_with_one_fault_are_one_line() -> None:
    topics = [REQUESTS, RESULTS]
    lines = judged(topics, {topic.name: found(topic, copies=1) for topic in topics}, 1)
    assert [line.partition("(")[2] for line in lines] == ["a.requests, a.results)"]


def test_a_larger_limit_of_the_topic_holds_for_what_was_accepted_under_it() -> None:
    larger = found(REQUESTS, max_message_bytes=(4 << 20) + BATCH_OVERHEAD)
    assert takes(REQUESTS, {REQUESTS.name: larger}) == 4 << 20
    assert takes(REQUESTS, {}) == REQUESTS.max_bytes


def test_of_a_topic_that_no_broker_tells_of_nothing_is_said() -> None:
    assert judged([REQUESTS], {}, 3) == []
