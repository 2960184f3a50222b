from __future__ import annotations

from itertools import pairwise

from bufferproxy.log.contract import Keep
from bufferproxy.log.topics import ANSWER, HEADROOM, TIERS, ServiceTopics, holds_fresh_requests, topics_of

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
    topics = topics_of(NAMES, partitions=3, body=10, reply=20, keep_results=60.0, keep_dead=90.0, parks=True)
    assert {topic.name: topic[1:4] for topic in topics} == {
        NAMES.requests: (3, Keep(committed_by="p.auth"), 10 + HEADROOM),
        NAMES.delayed: (len(TIERS), Keep(committed_by="p.auth"), 10 + HEADROOM),
        NAMES.parked: (3, Keep(committed_by="p.auth"), 10 + HEADROOM),
        NAMES.states: (3, Keep(seconds=90.0, compact=True), HEADROOM),
        NAMES.results: (3, Keep(seconds=3660.0), 20 + HEADROOM),
        NAMES.dead: (3, Keep(seconds=90.0, compact=True), 10 + HEADROOM + ANSWER),
    }
    assert {topic.name for topic in topics if topic.copies} == {NAMES.delayed, NAMES.parked, NAMES.dead}


def test_the_tiers_reach_from_a_quarter_of_a_second_to_most_of_a_day() -> None:
    assert (TIERS[0], TIERS[-1]) == (0.25, 65536.0)
    assert all(later == 4 * sooner for sooner, later in pairwise(TIERS))


def test_only_topics_of_requests_take_what_was_just_accepted() -> None:
    fresh = [name for name in (*NAMES[:6], "p.auth.requests.high") if holds_fresh_requests(name)]
    assert fresh == ["p.auth.requests", "p.auth.requests.high"]
