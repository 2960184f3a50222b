"""Where leases begin, on a Kafka that answers as told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from bufferproxy.log.contract import Lease
from bufferproxy.log.kafka.leases import beginnings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

P = TopicPartition("t", 0)


class Consumer:
    """`ends`: what it answers in turn."""

    def __init__(self, committed: int | None, *ends: int) -> None:
        self._committed = committed
        self._ends = list(ends)

    def beginning_offsets(self, places: Sequence[Any], *, timeout_ms: float) -> Mapping[Any, int]:
        return dict.fromkeys(places, 5)

    def committed(self, place: Any, *, metadata: bool, timeout_ms: float) -> OffsetAndMetadata | None:
        return None if self._committed is None else OffsetAndMetadata(self._committed, "marks", -1)

    def end_offsets(self, places: Sequence[Any], *, timeout_ms: float) -> Mapping[Any, int]:
        return dict.fromkeys(places, self._ends.pop(0))


@pytest.mark.parametrize(
    ("consumer", "lease"),
    [
        pytest.param(Consumer(None, 9), Lease(1, 5), id="nothing is committed"),
        pytest.param(Consumer(7, 9), Lease(1, 7, "marks"), id="something is"),
        pytest.param(Consumer(9, 9), Lease(1, 9, "marks"), id="everything is"),
        pytest.param(Consumer(4, 9), Lease(1, 5), id="what lies there is deleted"),
        pytest.param(Consumer(1000, 9, 9), Lease(1, 5), id="what lay there is lost"),
        pytest.param(Consumer(1000, 9, 1000), Lease(1, 1000, "marks"), id="a broker did not know it yet"),
    ],
)
def test_a_lease_begins_where(consumer: Consumer, lease: Lease) -> None:
    assert beginnings(consumer, "g", [P], 1, lambda _: False) == {P: lease}
