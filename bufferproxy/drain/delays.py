"""The tiers of `.delayed`: heads that are due go to the lanes, others hop to the next tier.

A tier is a FIFO with one wait, so looking at its head is enough. A head that is nearly due leaves its tier
and is held until its moment: nothing is sent before, and nobody waits behind it. What is held here is bounded
by the tiers' windows; the rest waits in the log.

The time of day may be set. What came before it was set back seems to have to wait for longer than its tier
ever takes: it goes on at once to where it belongs, lest all that comes after it waits behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from heapq import heapify, heappop, heappush
from itertools import count

from bufferproxy.clock import LOOK, Clock
from bufferproxy.drain.lanes import Item
from bufferproxy.records import Partition
from bufferproxy.settle.tiers import EARLY, due, set_back
from bufferproxy.wakeup import Wakeup


class Delays:
    """`ready(item)` takes what is due; `hop(item)` appends what is not to its next tier and settles it;
    `expire(item)` ends what will not be sent any more."""

    def __init__(
        self,
        clock: Clock,
        ready: Callable[[Item], None],
        hop: Callable[[Item], None],
        expire: Callable[[Item], None],
    ) -> None:
        self._clock = clock
        self._ready = ready
        self._hop = hop
        self._expire = expire
        self._tiers: dict[Partition, deque[Item]] = {}
        self._soon: list[tuple[int, int, Item]] = []
        """A heap of what has left its tier: when it is due (ms), a number of its own, and it."""
        self._numbers = count()
        self._changed = Wakeup()

    def hold(self, item: Item) -> None:
        tier = self._tiers.setdefault(item.partition, deque())
        tier.append(item)
        if len(tier) == 1:
            self._changed.set()

    def discard(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self._tiers.pop(partition, None)
        self._soon = [entry for entry in self._soon if entry[2].partition not in partitions]
        heapify(self._soon)

    def __len__(self) -> int:
        return len(self._soon) + sum(map(len, self._tiers.values()))

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
        moments = [self._empty(place.number, tier, now_ms) for place, tier in self._tiers.items()]
        while self._soon and self._soon[0][0] <= now_ms:
            self._ready(heappop(self._soon)[2])
        if self._soon and self._soon[0][0] - now_ms > (EARLY + LOOK) * 1000:
            self._not_so_soon()
        if self._soon:
            moments.append(self._soon[0][0])
        soonest = min((moment for moment in moments if moment is not None), default=None)
        return None if soonest is None else max(0.001, (soonest - now_ms) / 1000)

    def _empty(self, number: int, tier: deque[Item], now_ms: int) -> int | None:
        """As far as its heads do not wait; when the next one's wait is over, None without any."""
        while tier:
            item = tier[0]
            request, hop_at = item.request, item.request.hop_at or 0
            if request.expires_at is not None and request.expires_at <= now_ms:
                self._expire(item)
            elif due(request, now_ms):
                heappush(self._soon, (request.due_at or 0, next(self._numbers), item))
            elif hop_at <= now_ms:
                self._hop(item)
            elif (back := set_back(hop_at, number, now_ms)) > LOOK * 1000:
                self._turn_back(item, back)
            else:
                return hop_at
            tier.popleft()
        return None

    def _turn_back(self, item: Item, back: int) -> None:
        """A retry waits for so long, whatever the clock says; who named a moment, until then."""
        request = item.request
        if request.sends and request.due_at is not None:
            item.request = request._replace(due_at=request.due_at - back)
        self._hop(item)

    def _not_so_soon(self) -> None:
        """All of them were nearly due, and the time of day was set back."""
        soon, self._soon = self._soon, []
        for _, _, item in soon:
            (self._ready if item.request.sends else self._hop)(item)

    def __repr__(self) -> str:
        return f"<Delays held={len(self)} tiers={len(self._tiers)}>"
