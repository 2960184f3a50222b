"""A clock that moves when it is told to."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

TURNS = 20
"""Turns of the loop that `advance` grants whoever was woken, before time goes on."""

EPOCH = 1_750_000_000.0


class FakeTimer:
    __slots__ = ("_callback", "at")

    def __init__(self, at: float, callback: Callable[[], object]) -> None:
        self.at = at
        self._callback: Callable[[], object] | None = callback

    @property
    def waiting(self) -> bool:
        return self._callback is not None

    def cancel(self) -> None:
        self._callback = None

    def ring(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class FakeClock:
    """A Clock for tests. Time stands still between two calls of `advance`.

    `randoms` are what `random` returns, in turn and over again. Nonces differ, and can be foretold.
    """

    def __init__(
        self, *, now: float = 1000.0, wall: float = EPOCH, randoms: Iterable[float] = (0.5,)
    ) -> None:
        self._now = now
        self._ahead = wall - now
        self._randoms: Iterator[float] = itertools.cycle(tuple(randoms))
        self._numbers = itertools.count(1)
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._set = asyncio.Event()

    # --- what a Clock does

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now + self._ahead

    def random(self) -> float:
        return next(self._randoms)

    def nonce(self) -> bytes:
        """As random ones do, two of these differ also in their first 90 bits."""
        return (next(self._numbers) << 6).to_bytes(12, "big")

    def call_later(self, seconds: float, callback: Callable[[], object]) -> FakeTimer:
        timer = FakeTimer(self._now + seconds, callback)
        heapq.heappush(self._timers, (timer.at, next(self._numbers), timer))
        self._set.set()
        return timer

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.Event()
        timer = self.call_later(seconds, woken.set)
        try:
            await woken.wait()
        finally:
            timer.cancel()

    # --- what a test does

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass. Sleepers and timers due by then are woken in the order of their times, each at
        its time; what they set for a time within `seconds` is woken too."""
        await _turns()  # who was started just now gets to its sleep
        until = self._now + seconds
        while (at := self.next_at) is not None and at <= until:
            self._now = max(self._now, at)
            heapq.heappop(self._timers)[2].ring()
            await _turns()
        self._now = until

    def shift(self, seconds: float) -> None:
        """Time jumps, and nobody is woken: what is due is late at the next `advance`."""
        self._now += seconds

    def suspend(self, seconds: float) -> None:
        """The machine sleeps for so long: time goes on, and timers stand still."""
        self._now += seconds
        for _, _, timer in self._timers:
            timer.at += seconds
        self._timers = [(timer.at, number, timer) for _, number, timer in self._timers]

    def set_wall(self, wall: float) -> None:
        """Somebody sets the time of day; intervals do not notice."""
        self._ahead = wall - self._now

    async def until_set(self, count: int = 1) -> None:
        """Returns when at least `count` timers and sleepers wait."""
        while self.waiting < count:
            self._set.clear()
            await self._set.wait()

    @property
    def waiting(self) -> int:
        """Timers and sleepers."""
        return sum(timer.waiting for _, _, timer in self._timers)

    @property
    def next_at(self) -> float | None:
        """By `now`, when the next of them is due."""
        while self._timers and not self._timers[0][2].waiting:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def __repr__(self) -> str:
        return f"<FakeClock now={self._now:.3f} waiting={self.waiting}>"


async def _turns() -> None:
    # Private, and the only way to see that nobody else has anything to do: asyncio's own loop keeps here
    # what is to run.
    to_run = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    for _ in range(TURNS):
        await asyncio.sleep(0)
        if not to_run:
            return
