"""Copies of a redriven request that was settled before: a redrive that was cut off appends it once more.

Only records that come from a redrive are asked about, so that others pay one comparison.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

from bufferproxy.clock import Clock
from bufferproxy.drain.lanes import Item
from bufferproxy.errors import LogError
from bufferproxy.records import Partition

Generation = tuple[str, int]
"""Id, and number of its redrive."""

Settled = Callable[[Collection[Generation]], Awaitable[Collection[Generation]]]
"""Which of these were settled, by all that the log holds now. Raises LogError."""

AGAIN = 0.5
"""Seconds until the log is asked again."""


class Repeats:
    """Of two copies the one that asks first goes on. It lies open in the log until it is settled, so the
    other may be dropped. `ended` when an item is settled, or given up."""

    def __init__(self, settled: Settled, clock: Clock) -> None:
        self._settled = settled
        self._clock = clock
        self._open: dict[Generation, Item] = {}
        self._wanted: dict[Generation, bool | None] = {}
        self._one_at_a_time = asyncio.Lock()

    async def has(self, item: Item) -> bool:
        """Whether another copy of the same redrive is under way here, or was settled."""
        request = item.request
        # What comes due in a tier was copied there by who settled it: it is the copy that goes on.
        if not request.generation or item.due:
            return False
        known = (request.id, request.generation)
        first = self._open.get(known)
        if first is not None:
            return first is not item
        self._open[known] = item
        return await self._was_settled(known)

    def ended(self, item: Item) -> None:
        request = item.request
        if request.generation and self._open.get((request.id, request.generation)) is item:
            del self._open[request.id, request.generation]

    def discard(self, partitions: Collection[Partition]) -> None:
        """These are no longer ours: what is read of them again is no repeat."""
        for known, item in tuple(self._open.items()):
            if item.partition in partitions:
                del self._open[known]

    async def _was_settled(self, known: Generation) -> bool:
        """Who comes while a question is under way is answered by the next one, which asks for all."""
        self._wanted[known] = None
        try:
            async with self._one_at_a_time:
                if self._wanted[known] is None:
                    asked = [each for each, answer in self._wanted.items() if answer is None]
                    settled = await self._ask(asked)
                    self._wanted.update({each: each in settled for each in asked if each in self._wanted})
            return bool(self._wanted[known])
        finally:
            self._wanted.pop(known, None)

    async def _ask(self, asked: Collection[Generation]) -> Collection[Generation]:
        while True:
            try:
                return await self._settled(asked)
            except LogError:
                await self._clock.sleep(AGAIN)

    def __repr__(self) -> str:
        return f"<Repeats {len(self._open)} redriven are open>"


async def none_was(_: Collection[Generation]) -> Collection[Generation]:
    """Where nothing is ever redriven."""
    return ()
