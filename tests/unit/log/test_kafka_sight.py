from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from bufferproxy.clock import SystemClock
from bufferproxy.errors import LogUnavailable
from bufferproxy.log.kafka.sight import Sight
from bufferproxy.records import Partition, Position

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Consumer:
    """Of an empty partition."""

    def __init__(self) -> None:
        self._fetcher = SimpleNamespace()
        self._subscription = SimpleNamespace(assign_from_user=self._assign)
        self._cluster = SimpleNamespace(add_topic=lambda topic: None)
        self.crashed = False
        self.closed = False

    def _assign(self, places: Sequence[Any]) -> None:
        if self.crashed:
            raise RuntimeError("its I/O loop has crashed")

    def end_offsets(self, places: Sequence[Any], *, timeout_ms: float) -> Mapping[Any, int]:
        return dict.fromkeys(places, 0)

    beginning_offsets = end_offsets

    def seek(self, place: Any, offset: int) -> None: ...

    def close(self, *, autocommit: bool, timeout_ms: int) -> None:
        self.closed = True
        if self.crashed:
            raise RuntimeError("its I/O loop has crashed")


def test_after_a_read_that_failed_the_next_one_has_a_consumer_of_its_own() -> None:
    made: list[Consumer] = []

    class Clients:
        def consumer(self, *, fetch_max_wait_ms: int) -> Consumer:
            made.append(Consumer())
            return made[-1]

    sight = Sight(cast("Any", Clients()), SystemClock())
    position = Position(Partition("t", 0), 0)
    for _ in range(2):
        assert sight.read(position, 1) == []
    assert len(made) == 1, "one for all reads"
    made[0].crashed = True
    with pytest.raises(LogUnavailable, match="crashed"):
        sight.read(position, 1)
    assert made[0].closed
    assert sight.read(position, 1) == []
    assert len(made) == 2
    sight.close()
    assert made[1].closed
