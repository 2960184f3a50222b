"""The only place that knows time, sleep and randomness: everything else is handed a Clock."""

from __future__ import annotations

import asyncio
import os
import random
import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Monotonic seconds: for intervals, deadlines and pacing."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch: for what is stored and shown."""
        ...

    async def sleep(self, seconds: float) -> None: ...

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

    def nonce(self) -> bytes:
        # One read of the system's generator serves 256 nonces: a system call each would cost more than
        # the rest of the id.
        if self._used == len(self._pool):
            self._pool, self._used = os.urandom(12 * 256), 0
        start = self._used
        self._used = start + 12
        return self._pool[start : start + 12]
