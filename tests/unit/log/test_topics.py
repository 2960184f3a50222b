from __future__ import annotations

from itertools import pairwise

from bufferproxy.log.contract import Keep
from bufferproxy.log.kafka.outbox import BUDGET_BYTES
from bufferproxy.log.sqlite.log import QUEUE_BYTES
from bufferproxy.log.topics import TIERS, ServiceTopics, holds_fresh_requests, topics_of
from bufferproxy.sizes import ANSWER, LARGEST, LEAST_HEADROOM

NAMES = ServiceTopics.of("auth", "p")


def test_a_services_topics_and_its_group_begin_with_the_prefix() -> None:
    assert NAMES == (
        "p.auth.requests",
        "p.auth.delayed",
        "p.auth.parked",
        "p.auth.states",
        "p.auth.results",
        "p.auth.dead",
        "p.auth",
        False,
    )
    assert ServiceTopics.of("auth").requests == "bufferproxy.auth.requests"


def test_each_topic_keeps_what_its_readers_need() -> None:
    topics = topics_of(
        NAMES, partitions=3, body=10, reply=20, keep_results=60.0, keep_dead=90.0, results=2, parks=True
    )
    assert {topic.name: topic[1:4] for topic in topics} == {
        NAMES.requests: (3, Keep(committed_by="p.auth"), 10 + LEAST_HEADROOM),
        NAMES.delayed: (len(TIERS), Keep(committed_by="p.auth"), 10 + LEAST_HEADROOM),
        NAMES.parked: (3, Keep(committed_by="p.auth"), 10 + LEAST_HEADROOM),
        NAMES.states: (1, Keep(seconds=90.0, compact=True), LEAST_HEADROOM),
        NAMES.results: (2, Keep(seconds=3660.0), 20 + LEAST_HEADROOM),
        NAMES.dead: (1, Keep(seconds=90.0, compact=True), 10 + LEAST_HEADROOM + ANSWER),
    }
    assert {topic.name for topic in topics if topic.copies} == {
        NAMES.requests,
        NAMES.delayed,
        NAMES.parked,
        NAMES.dead,
    }


def test_topics_make_room_for_the_largest_request_that_is_received() -> None:
    topics = topics_of(NAMES, partitions=1, body=10, reply=20, keep_results=1, keep_dead=1, headroom=1 << 20)
    limits = {topic.name: topic.max_bytes for topic in topics}
    assert limits[NAMES.requests] == limits[NAMES.delayed] == (1 << 20) + 10
    assert limits[NAMES.dead] == (1 << 20) + 10 + ANSWER
    assert limits[NAMES.results] == LEAST_HEADROOM + 20


def test_a_log_takes_the_largest_record_that_settings_allow() -> None:
    assert LARGEST <= BUDGET_BYTES
    assert LARGEST <= QUEUE_BYTES


def test_the_tiers_reach_from_a_quarter_of_a_second_to_most_of_a_day() -> None:
    assert (TIERS[0], TIERS[-1]) == (0.25, 65536.0)
    assert all(later == 4 * sooner for sooner, later in pairwise(TIERS))


def test_only_topics_of_requests_take_what_was_just_accepted() -> None:
    fresh = [name for name in (*NAMES[:6], "p.auth.requests.high") if holds_fresh_requests(name)]
    assert fresh == ["p.auth.requests", "p.auth.requests.high"]
