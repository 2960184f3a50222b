"""Items for lanes and tiers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bufferproxy.drain.lanes import Item
from bufferproxy.drain.window import Window
from bufferproxy.records import Partition, Position, Request

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def item() -> Callable[..., Item]:
    def make(
        name: str,
        key: bytes | None = None,
        *,
        partition: int = 0,
        due: bool = False,
        due_at: int | None = None,
        hop_at: int | None = None,
    ) -> Item:
        topic = "bufferproxy.a.delayed" if hop_at else "bufferproxy.a.requests"
        position = Position(Partition(topic, partition), 0)
        request = Request(name, position, key, b"", b"", 0, 0, due_at=due_at, hop_at=hop_at)
        return Item(request, Window(0, 1), due=due)

    return make
