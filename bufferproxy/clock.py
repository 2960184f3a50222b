"""The only place that knows time, sleep and randomness: everything else is handed a Clock."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol


class Timer(Protocol):
    def cancel(self) -> None:
        """Harmless when it has rung."""
        ...


class Clock(Protocol):
    def now(self) -> float:
        """Monotonic seconds: for intervals, deadlines and pacing."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch: for what is stored and shown."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` on the loop in so many seconds: for what waits without a task."""
        ...

    def random(self) -> float:
        """Uniform in [0, 1): for jitter, never for secrets."""
        ...

    def nonce(self) -> bytes:
        """96 bits that nobody can guess."""
        ...


class SystemClock:
    def __init__(self) -> None:
        self._pool = b""
        self._used = 0

    now = staticmethod(time.monotonic)
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


@lru_cache(maxsize=256)
def rfc3339(ms: int) -> str:
    """Milliseconds since the epoch as RFC 3339 in UTC: `2026-01-31T12:00:00.250Z`."""
    second, fraction = divmod(ms, 1000)
    return f"{_of_second(second)}.{fraction:03d}Z"


@lru_cache(maxsize=16)
def _of_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
