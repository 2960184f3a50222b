"""What is in flight: from the send until what it came to is durable, or it is put back. Beside it, what is
settled without a send: whoever hands a partition over waits for both, or the next holder does it again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection

from bufferproxy.drain.lanes import Item
from bufferproxy.records import Partition


class Flights:
    def __init__(self) -> None:
        self._flying: dict[str, Item] = {}
        self._settling: set[Item] = set()
        self._landings: list[asyncio.Event] = []
        """Of those who wait for one."""

    def __len__(self) -> int:
        return len(self._flying)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._flying

    def start(self, item: Item) -> None:
        item.sent = True
        self._flying[item.request.id] = item

    def settling(self, item: Item) -> None:
        """It was not sent, and something is being appended that settles it."""
        self._settling.add(item)

    def land(self, item: Item) -> None:
        """Harmless for what was never sent."""
        if self._settling:
            self._settling.discard(item)
            if self._landings:
                self._tell_landed()
        if item.sent:
            item.sent = False
            # Another of this id may be in flight: who lost a partition and got it again reads it again.
            if self._flying.get(item.request.id) is item:
                del self._flying[item.request.id]
            if self._landings:
                self._tell_landed()

    def _tell_landed(self) -> None:
        for landed in self._landings:
            landed.set()

    def highest(self) -> dict[Partition, int]:
        """The highest offset in flight of each partition that has any."""
        found: dict[Partition, int] = {}
        for item in self._flying.values():
            partition, offset = item.request.position
            found[partition] = max(offset, found.get(partition, -1))
        return found

    async def wait_landed(self, partitions: Collection[Partition], seconds: float) -> None:
        """Until nothing of `partitions` is in flight or being settled, or `seconds` are over."""
        landed = asyncio.Event()
        self._landings.append(landed)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while any(
                        item.partition in partitions for item in (*self._flying.values(), *self._settling)
                    ):
                        landed.clear()
                        await landed.wait()
        finally:
            self._landings.remove(landed)

    def __repr__(self) -> str:
        return f"<Flights {len(self._flying)} in flight, {len(self._settling)} are settled>"
