"""Who gets which partitions: ranges, so that partition n of topics of one size has one owner, and moved
cooperatively (KIP-429), so that a rebalance takes from a member only what it gives to another.

kafka-python's own range assignor takes everything from everybody at every rebalance; its cooperative one
does not keep partitions of one number together, and tells as owned what a member has lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from kafka.coordinator.assignors.abstract import AbstractPartitionAssignor, RebalanceProtocol
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment, ConsumerProtocolSubscription

from bufferproxy.log.topics import holds_fresh_requests

Owned = Mapping[str, Collection[tuple[str, int]]]
"""Member -> the (topic, partition) that it says it owns."""


class CooperativeRanges(AbstractPartitionAssignor):  # type: ignore[misc]
    """`owned` tells what this member holds right now."""

    name = "bufferproxy-ranges"
    version = 1

    def __init__(self, owned: Callable[[], Collection[tuple[str, int]]]) -> None:
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
                kind(topic=topic, partitions=numbers) for topic, numbers in _by_topic(self._owned())
            ],
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
            member: ConsumerProtocolAssignment(self.version, _by_topic(places), b"")
            for member, places in given.items()
        }

    def on_assignment(self, assignment: Any, generation: int) -> None:
        """What is owned is known by who owns it."""


def ranges(
    members: Sequence[str], topics: Mapping[str, Collection[str]], sizes: Mapping[str, int]
) -> dict[str, set[tuple[str, int]]]:
    """Each topic in as many contiguous ranges as it has members, equal but for one: the first are longer.
    Who gets no fresh requests gets nothing else either: it has no share of the rate to send with."""
    given: dict[str, set[tuple[str, int]]] = {member: set() for member in members}
    most = max((size for topic, size in sizes.items() if holds_fresh_requests(topic)), default=len(members))
    for topic, size in sizes.items():
        takers = [member for member in members if topic in topics[member]][: max(1, most)]
        least, extra = divmod(size, len(takers))
        start = 0
        for index, member in enumerate(takers):
            end = start + least + (index < extra)
            given[member] |= {(topic, number) for number in range(start, end)}
            start = end
    return given


def next_step(
    wanted: Mapping[str, Collection[tuple[str, int]]], owned: Owned
) -> dict[str, set[tuple[str, int]]]:
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
