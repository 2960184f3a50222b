"""Who gets which partitions: contiguous ranges of each topic, moved cooperatively (KIP-429), so a rebalance
takes from a member only what it gives to another.

It goes by the name of Java's and librdkafka's `cooperative-sticky`, and says what these say, so members with
other clients may share the group, whoever leads it. kafka-python's own does not tell what a member has lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from kafka.coordinator.assignors.abstract import AbstractPartitionAssignor, RebalanceProtocol
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment, ConsumerProtocolSubscription

Places = Mapping[str, Collection[tuple[str, int]]]
"""Member -> (topic, partition)."""


class Owned:
    """What this member holds right now."""

    def __init__(self) -> None:
        self.places: set[Any] = set()
        self.generation = -1
        """Of the group, that it holds them under."""
        self.on_joined: Callable[[], None] = lambda: None


class CooperativeRanges(AbstractPartitionAssignor):  # type: ignore[misc]
    name = "cooperative-sticky"
    version = 2
    """Of the metadata: with the generation, without which others take what is owned for outdated."""

    def __init__(self, owned: Owned) -> None:
        self._owned = owned

    def supported_protocols(self) -> list[RebalanceProtocol]:
        return [RebalanceProtocol.COOPERATIVE]

    def metadata(self, topics: Collection[str]) -> Any:
        kind = ConsumerProtocolSubscription.TopicPartition
        return ConsumerProtocolSubscription(
            version=self.version,
            topics=sorted(topics),
            user_data=b"",
            owned_partitions=[
                kind(topic=topic, partitions=numbers)
                for topic, numbers in _by_topic(tuple(self._owned.places))
            ],
            generation_id=self._owned.generation,
        )

    def assign(self, cluster: Any, members: Sequence[Any]) -> dict[str, Any]:
        # Static members by their instance: after a restart it is the same one, and nothing moves.
        order = [m.member_id for m in sorted(members, key=lambda m: (m.group_instance_id or "", m.member_id))]
        topics = {m.member_id: frozenset(m.metadata.topics) for m in members}
        sizes = {
            topic: len(cluster.partitions_for_topic(topic) or ())
            for topic in frozenset().union(*topics.values())
        }
        owned = {
            m.member_id: {
                (place.topic, n) for place in m.metadata.owned_partitions or () for n in place.partitions
            }
            for m in members
        }
        given = next_step(ranges(order, topics, sizes), owned)
        return {
            member: ConsumerProtocolAssignment(1, _by_topic(places), b"") for member, places in given.items()
        }

    def on_assignment(self, assignment: Any, generation: int) -> None:
        self._owned.generation = generation
        self._owned.on_joined()


def ranges(
    members: Sequence[str], topics: Mapping[str, Collection[str]], sizes: Mapping[str, int]
) -> dict[str, set[tuple[str, int]]]:
    """Each topic in as many contiguous ranges as it has members, equal but for one: the first are longer."""
    given: dict[str, set[tuple[str, int]]] = {member: set() for member in members}
    for topic, size in sizes.items():
        takers = [member for member in members if topic in topics[member]]
        least, extra = divmod(size, len(takers))
        start = 0
        for index, member in enumerate(takers):
            end = start + least + (index < extra)
            given[member] |= {(topic, number) for number in range(start, end)}
            start = end
    return given


def next_step(wanted: Places, owned: Places) -> dict[str, set[tuple[str, int]]]:
    """What can be given now: not what somebody else still owns. That one sees it missing, lets it go and
    asks for another rebalance. What two claim goes to neither of them until both have let it go."""
    owners: dict[tuple[str, int], set[str]] = defaultdict(set)
    for member, places in owned.items():
        for place in places:
            owners[place].add(member)
    return {
        member: {place for place in places if owners.get(place, {member}) == {member}}
        for member, places in wanted.items()
    }


def _by_topic(places: Collection[tuple[str, int]]) -> list[tuple[str, list[int]]]:
    numbers: dict[str, list[int]] = defaultdict(list)
    for topic, number in sorted(places):
        numbers[topic].append(number)
    return list(numbers.items())
