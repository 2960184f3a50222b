"""The only place that knows time, sleep and randomness: everything else is handed a Clock."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Protocol

LOOK = 10.0
"""Seconds after which who waits for a moment looks at the clock again: the time of day may have been set, or
the machine suspended. Two clocks that differ by less are taken for right."""


class Timer(Protocol):
    def cancel(self) -> None:
        """Harmless when it has rung."""
        ...


class Clock(Protocol):
    def now(self) -> float:
        """Seconds that never go back, those in which the machine was suspended among them: for intervals,
        deadlines and pacing."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch: for what is stored and shown. Somebody may set it, either way."""
        ...

    async def sleep(self, seconds: float) -> None:
        """So long at least. It stands still while the machine is suspended, so who wakes looks at `now`."""
        ...

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` on the loop in so many seconds: for what waits without a task. As `sleep`."""
        ...

    def random(self) -> float:
        """Uniform in [0, 1): for jitter, never for secrets."""
        ...

    def nonce(self) -> bytes:
        """96 bits that nobody can guess."""
        ...


def _steady() -> Callable[[], float]:
    """CLOCK_MONOTONIC stands still while the machine is suspended: whoever wakes up would take a lease for
    fresh that all others have written off. Linux has one that goes on."""
    counts_suspend: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic if counts_suspend is None else partial(time.clock_gettime, counts_suspend)


class SystemClock:
    def __init__(self) -> None:
        self._pool = b""
        self._used = 0

    now = staticmethod(_steady())
    wall = staticmethod(time.time)
    random = staticmethod(random.random)
    sleep = staticmethod(asyncio.sleep)

    @staticmethod
    def call_later(seconds: float, callback: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, callback)

    def nonce(self) -> bytes:
        # One read of the system's generator serves 256 nonces: a system call each would cost more than
        # the rest of the id.
        if self._used == len(self._pool):
            self._pool, self._used = os.urandom(12 * 256), 0
        start = self._used
        self._used = start + 12
        return self._pool[start : start + 12]


class Ticker:
    """One timer for all that is looked at regularly: a process at rest wakes up four times a second, however
    many services it has."""

    TICK = 0.25
    """Seconds."""

    TOGETHER = 32
    """Looks in one turn of the loop, lest a request waits for all of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looks: list[tuple[int, Callable[[], None]]] = []
        self._ticks = 0

    def every(self, seconds: float, look: Callable[[], None]) -> None:
        """Call `look` each time so many seconds have passed (a multiple of TICK). It must not block."""
        self._looks.append((round(seconds / self.TICK), look))

    async def run(self) -> None:
        """Until cancelled, or until a look raises."""
        while True:
            await self._clock.sleep(self.TICK)
            self._ticks += 1
            due = [look for every, look in self._looks if self._ticks % every == 0]
            for number, look in enumerate(due, 1):
                look()
                if number % self.TOGETHER == 0:
                    await asyncio.sleep(0)

    def __repr__(self) -> str:
        return f"<Ticker of {len(self._looks)} looks>"


@lru_cache(maxsize=256)
def rfc3339(ms: int) -> str:
    """Milliseconds since the epoch as RFC 3339 in UTC: `2026-01-31T12:00:00.250Z`."""
    second, fraction = divmod(ms, 1000)
    return f"{_of_second(second)}.{fraction:03d}Z"


@lru_cache(maxsize=16)
def _of_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
