"""What Kafka must promise of a topic for ours to hold, and what one that exists lacks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from bufferproxy.errors import LogUnusable
from bufferproxy.log.contract import Topic

BATCH_OVERHEAD = 4096
"""Bytes that `max.message.bytes` allows beyond the record: the batch around it, and the lengths in it."""

MAX_MS = 2**63 - 1
SAFE = 3
"""Copies. Fewer lose acknowledged requests together with the brokers that hold them."""


class Found(NamedTuple):
    """A topic as it is. `copies`: of the partition with the fewest; `settings` in Kafka's names."""

    partitions: int
    copies: int
    settings: Mapping[str, str]

    @property
    def max_bytes(self) -> int:
        """Of a record, as Topic.max_bytes counts."""
        return int(self.settings.get("max.message.bytes") or 0) - BATCH_OVERHEAD


class Difference(NamedTuple):
    """`loses`: what was accepted would be deleted, or could not be settled."""

    text: str
    loses: bool = False


def settings_of(topic: Topic, replication: int) -> dict[str, object]:
    """What a topic needs, in Kafka's names."""
    policy = ["compact"] if topic.keep.compact else []
    if topic.keep.seconds is not None or not topic.keep.compact:
        policy.append("delete")
    return {
        "cleanup.policy": ",".join(policy),
        "retention.ms": -1 if topic.keep.seconds is None else int(topic.keep.seconds * 1000),
        "retention.bytes": -1,
        "max.message.bytes": topic.max_bytes + BATCH_OVERHEAD,
        "min.insync.replicas": max(1, min(2, replication)),
        "unclean.leader.election.enable": "false",
        "message.timestamp.type": "CreateTime",
        # A clock that is an hour ahead of the broker's must not keep anything from being stored.
        "message.timestamp.after.max.ms": MAX_MS,
    }


def differences(topic: Topic, found: Found, replication: int) -> list[Difference]:
    """From what it needs."""
    wrong = []
    if found.partitions != topic.partitions:
        wrong.append(Difference(f"{found.partitions} partitions instead of {topic.partitions}"))
    if found.copies < replication:
        wrong.append(Difference(f"replication {found.copies} instead of {replication}"))
    if found.copies < SAFE:
        wrong.append(
            Difference(
                f"replication {found.copies}: fewer than {SAFE} copies lose acknowledged requests "
                "with their brokers"
            )
        )
    for name, wanted in settings_of(topic, replication).items():
        is_ = found.settings.get(name, "")
        if name == "message.timestamp.after.max.ms" and not is_:
            continue  # a broker from before 3.6 has no such limit
        if name in {"max.message.bytes", "min.insync.replicas"}:
            if int(is_ or 0) < int(str(wanted)):
                text = f"{name} is {is_}, at least {wanted} is needed"
                wrong.append(Difference(text, loses=name == "max.message.bytes"))
        elif sorted(is_.split(",")) != sorted(str(wanted).split(",")):
            # Of what waits for its commit nothing may be deleted by time, by size or by key.
            loses = topic.keep.committed_by is not None and name in _DELETES
            wrong.append(Difference(f"{name} is {is_} instead of {wanted}", loses))
    return wrong


_DELETES = frozenset({"cleanup.policy", "retention.ms", "retention.bytes"})


def judged(topics: Sequence[Topic], found: Mapping[str, Found], replication: int) -> list[str]:
    """What to warn of, a line for each kind of difference. Raises LogUnusable where what was accepted would
    not be safe. Of a topic that is not `found` nothing is known."""
    wrong = [
        (topic.name, each)
        for topic in topics
        if topic.name in found
        for each in differences(topic, found[topic.name], replication)
    ]
    if loses := _together((name, each) for name, each in wrong if each.loses):
        raise LogUnusable(
            f"Kafka would delete or refuse what was accepted: {'; '.join(loses)}. Change the topics with "
            "kafka-configs.sh --alter until `bufferproxy topics describe` is content"
        )
    return _together(wrong)


def takes(topic: Topic, found: Mapping[str, Found]) -> int:
    """Bytes of a record. A limit that has been lowered does not hold for copies of what was accepted
    before."""
    is_ = found.get(topic.name)
    return topic.max_bytes if is_ is None else max(topic.max_bytes, is_.max_bytes)


def _together(found: Iterable[tuple[str, Difference]]) -> list[str]:
    topics: dict[str, list[str]] = {}
    for name, difference in found:
        topics.setdefault(difference.text, []).append(name)
    return [f"{text} ({', '.join(names)})" for text, names in topics.items()]
