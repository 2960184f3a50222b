"""A clock that moves when it is told to."""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


class HandClock:
    """`advance` wakes who sleeps, in the order of their times; `slept` says that somebody went to sleep."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.slept = asyncio.Event()
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._timers: list[tuple[float, int, Callable[[], object]]] = []

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return 1_700_000_000.0 + self.time

    def random(self) -> float:
        return 0.5

    def nonce(self) -> bytes:
        return bytes(12)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> None:
        """Rung by `ring`."""
        heapq.heappush(self._timers, (self.time + seconds, len(self._timers), callback))

    def ring(self, seconds: float) -> None:
        """Time goes on, and timers ring, for those that wait without a task."""
        until = self.time + seconds
        while self._timers and self._timers[0][0] <= until:
            self.time, _, callback = heapq.heappop(self._timers)
            callback()
        self.time = until

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        heapq.heappush(self._sleepers, (self.time + seconds, len(self._sleepers), woken))
        self.slept.set()
        await woken.wait()

    async def advance(self, seconds: float) -> None:
        """Returns when somebody sleeps again."""
        await self.slept.wait()
        self.time += seconds
        self.slept.clear()
        while self._sleepers and self._sleepers[0][0] <= self.time:
            heapq.heappop(self._sleepers)[2].set()
        await self.slept.wait()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()
