"""What is in flight: from the send until what it came to is durable, or it is put back."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Collection

from bufferproxy.drain.lanes import Item
from bufferproxy.records import Partition


class Flights:
    def __init__(self) -> None:
        self._count: Counter[Partition] = Counter()
        self._ids: set[str] = set()
        self._landed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._ids

    def start(self, item: Item) -> None:
        item.sent = True
        self._count[item.partition] += 1
        self._ids.add(item.request.id)

    def land(self, item: Item) -> None:
        """Harmless for what was never sent."""
        if item.sent:
            item.sent = False
            self._count[item.partition] -= 1
            self._ids.discard(item.request.id)
            self._landed.set()

    async def wait_landed(self, partitions: Collection[Partition], seconds: float) -> None:
        """Until nothing of `partitions` is in flight, or `seconds` are over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while any(self._count[partition] for partition in partitions):
                    self._landed.clear()
                    await self._landed.wait()

    def __repr__(self) -> str:
        return f"<Flights {len(self._ids)} in flight>"
