"""Answers about many partitions, of which some may be missing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from kafka.errors import AuthorizationError, UnknownTopicOrPartitionError

from bufferproxy.log.kafka.engine import Failure, Trouble
from bufferproxy.records import Partition

T = TypeVar("T")


class Asked(NamedTuple, Generic[T]):
    """What was answered in time, and why the rest was not."""

    found: Mapping[Partition, T]
    failures: Sequence[Failure] = ()
    late: bool = False
    """Some of it answers an earlier question."""


class Commit(NamedTuple):
    """The next offset to be read, and its marks."""

    offset: int
    marks: str


def apart(
    partitions: Collection[Partition],
    ask: Callable[[Collection[Partition]], Mapping[Partition, T]],
) -> tuple[Mapping[Partition, T], Sequence[Failure]]:
    """`ask` of all; where a topic is denied or missing, of each topic by itself. Blocks."""
    try:
        return ask(partitions), ()
    except (AuthorizationError, UnknownTopicOrPartitionError) as error:
        topics = {partition.topic for partition in partitions}
        if len(topics) == 1:
            (topic,) = topics
            denied = isinstance(error, AuthorizationError)
            text = f"{topic}: not authorized (DESCRIBE)" if denied else f"{topic}: no such topic"
            return {}, (Failure(Trouble.DENIED if denied else Trouble.MISSING, text, topic),)
    found: dict[Partition, T] = {}
    failures: list[Failure] = []
    for topic in topics:
        some, wrong = apart([partition for partition in partitions if partition.topic == topic], ask)
        found.update(some)
        failures.extend(wrong)
    return found, failures
