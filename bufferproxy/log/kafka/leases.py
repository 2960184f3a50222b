"""Where leases begin, asked of Kafka. Blocks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kafka import TopicPartition

from bufferproxy.log.contract import Lease

logger = logging.getLogger(__name__)

ASK = 5.0
"""Seconds that a question may take."""
CERTAIN = 2.0
"""Seconds after which a partition that ends before its commit is asked for its end once more: a broker that
has just lost it to another may not know yet."""


def beginnings(
    consumer: Any,
    group: str,
    places: Sequence[TopicPartition],
    epoch: int,
    stops_within: Callable[[float], bool],
) -> dict[TopicPartition, Lease]:
    """`stops_within`: waits so many seconds; true at once when there is no need for an answer any more."""
    starts = consumer.beginning_offsets(places, timeout_ms=ASK * 1000)
    committed = {place: consumer.committed(place, metadata=True, timeout_ms=ASK * 1000) for place in places}
    ends = dict(consumer.end_offsets(places, timeout_ms=ASK * 1000))  # after the commits: none can be beyond
    beyond = _beyond(committed, ends)
    if beyond and not stops_within(CERTAIN):
        ends.update(consumer.end_offsets(beyond, timeout_ms=ASK * 1000))
        for place in _beyond(committed, ends):
            logger.error(
                "%s %d: %s has committed %d, and Kafka holds records up to %d: it has lost what it had "
                "acknowledged. What it holds is read from its start, also what may be settled already",
                place.topic,
                place.partition,
                group,
                committed[place].offset,
                ends[place],
            )
    return {place: _lease(epoch, committed[place], starts[place], ends[place]) for place in places}


def _beyond(
    committed: Mapping[TopicPartition, Any], ends: Mapping[TopicPartition, int]
) -> list[TopicPartition]:
    return [place for place, at in committed.items() if at is not None and at.offset > ends[place]]


def _lease(epoch: int, committed: Any, start: int, end: int) -> Lease:
    """`committed` is None, or has an offset and metadata. It may have expired, or records been deleted: the
    first kept one is a floor. Beyond the end it is of records that Kafka has lost, and what came after them
    has lower offsets: nothing of it is settled."""
    if committed is None or not start <= committed.offset <= end:
        return Lease(epoch, start)
    return Lease(epoch, committed.offset, committed.metadata or "")
