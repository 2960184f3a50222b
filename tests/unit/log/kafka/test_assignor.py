"""Who gets which partitions, and how they move."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bufferproxy.log.kafka.kafka_python.assignor import next_step, ranges

TOPICS = {"a": 4, "b": 4, "c": 10}


def of(members: list[str]) -> dict[str, set[tuple[str, int]]]:
    return ranges(members, {key: set(TOPICS) for key in members}, TOPICS)


members = st.lists(st.sampled_from("vwxyz"), unique=True, max_size=5).map(sorted)
everybody = members.filter(bool)


@given(everybody)
def test_every_partition_has_one_member(group: list[str]) -> None:
    given_out = [place for places in of(group).values() for place in places]
    assert len(given_out) == len(set(given_out)) == sum(TOPICS.values())


@given(everybody)
def test_partitions_of_one_number_in_topics_of_one_size_go_together(group: list[str]) -> None:
    for places in of(group).values():
        assert {n for topic, n in places if topic == "a"} == {n for topic, n in places if topic == "b"}


@given(everybody)
def test_shares_differ_by_one_partition_a_topic_at_most(group: list[str]) -> None:
    for topic in TOPICS:
        shares = [sum(name == topic for name, _ in places) for places in of(group).values()]
        assert max(shares) - min(shares) <= 1


def test_a_topic_goes_to_those_that_read_it() -> None:
    assert ranges(["x", "y"], {"x": {"a"}, "y": {"b"}}, {"a": 1, "b": 2}) == {
        "x": {("a", 0)},
        "y": {("b", 0), ("b", 1)},
    }


@given(members, everybody)
def test_nothing_is_given_while_somebody_else_owns_it(before: list[str], after: list[str]) -> None:
    owned = of(before) if before else {}
    step = next_step(of(after), owned)
    for member, places in step.items():
        for place in places:
            assert all(place not in others for who, others in owned.items() if who != member)


@given(members, everybody)
def test_two_steps_arrive_once_all_have_let_go(before: list[str], after: list[str]) -> None:
    # Who is gone owns nothing any more: the group does not hear from it.
    owned = {who: places for who, places in (of(before) if before else {}).items() if who in after}
    first = next_step(of(after), owned)
    assert next_step(of(after), first) == of(after)


def test_what_two_claim_goes_to_neither() -> None:
    place = ("a", 0)
    wanted = {"x": {place}, "y": set[tuple[str, int]]()}
    assert next_step(wanted, {"x": {place}, "y": {place}}) == {"x": set(), "y": set()}
