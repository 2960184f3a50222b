"""The tiers of `.delayed`: heads that are due go to the lanes, others hop to the next tier.

A tier is a FIFO with one wait, so looking at its head is enough. What is held here is bounded by the tier's
window; the rest waits in the log.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection

from bufferproxy.clock import Clock
from bufferproxy.drain.lanes import Item
from bufferproxy.records import Partition
from bufferproxy.settle.tiers import due

LOOK = 10.0
"""Seconds after which the time of day is looked at again: it may have been set, or the machine suspended."""


class Delays:
    """`ready(item)` takes what is due; `hop(item)` appends what is not to its next tier and settles it."""

    def __init__(self, clock: Clock, ready: Callable[[Item], None], hop: Callable[[Item], None]) -> None:
        self._clock = clock
        self._ready = ready
        self._hop = hop
        self._tiers: dict[Partition, deque[Item]] = {}
        self._changed = asyncio.Event()

    def hold(self, item: Item) -> None:
        tier = self._tiers.setdefault(item.partition, deque())
        tier.append(item)
        if len(tier) == 1:
            self._changed.set()

    def discard(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self._tiers.pop(partition, None)

    def __len__(self) -> int:
        return sum(map(len, self._tiers.values()))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._changed.clear()
            wait = self._let_go()
            timer = None if wait is None else self._clock.call_later(min(wait, LOOK), self._changed.set)
            try:
                await self._changed.wait()
            finally:
                if timer is not None:
                    timer.cancel()

    def _let_go(self) -> float | None:
        """Pass on every head whose wait is over; seconds until the next one's is, None without any."""
        now_ms = int(self._clock.wall() * 1000)
        soonest: int | None = None
        for tier in self._tiers.values():
            while tier:
                request = tier[0].request
                hop_at, is_due = request.hop_at or 0, due(request, now_ms)
                if hop_at > now_ms and not is_due:
                    soonest = hop_at if soonest is None else min(soonest, hop_at)
                    break
                (self._ready if is_due else self._hop)(tier.popleft())
        return None if soonest is None else max(0.001, (soonest - now_ms) / 1000)

    def __repr__(self) -> str:
        return f"<Delays held={len(self)} tiers={len(self._tiers)}>"
