"""How late the event loop is: what one slow callback costs everybody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bufferproxy.observe.events import Emit, LoopLagged

if TYPE_CHECKING:
    from bufferproxy.clock import Clock

INTERVAL = 0.1


class LoopLag:
    """Sleeps and looks how much later than asked it woke up."""

    def __init__(self, clock: Clock, emit: Emit, interval: float = INTERVAL) -> None:
        self._clock = clock
        self._emit = emit
        self._interval = interval

    async def run(self) -> None:
        """One LoopLagged each `interval` seconds, until cancelled."""
        while True:
            started = self._clock.now()
            await self._clock.sleep(self._interval)
            late = self._clock.now() - started - self._interval
            self._emit(LoopLagged(max(0.0, late)))

    def __repr__(self) -> str:
        return f"<LoopLag every {self._interval:g} s>"
