"""Ends what expires while it waits to be sent: in the lanes, and in the hands of who waits for its turn.

Right before a send it is judged anyway (`sender.py`). But while the service is paused or rests nothing comes
to that, and a request's end should not wait for it. One look a second over what is held, which the windows
bound, and no timer for any request; none at all while nothing is held.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from bufferproxy.clock import Clock
from bufferproxy.drain.lanes import Item, Lanes

EVERY = 1.0
"""Seconds between two looks."""


class Activity(Protocol):
    """Whether anything is held that could be sent (`drain/activity.py`)."""

    async def begun(self) -> None: ...

    def over(self) -> bool: ...


class Expiry:
    """`taken`: what is out of the lanes and not concluded. `end(item)` ends it as expired."""

    def __init__(
        self, lanes: Lanes, taken: Collection[Item], end: Callable[[Item], None], clock: Clock
    ) -> None:
        self._lanes = lanes
        self._taken = taken
        self._end = end
        self._clock = clock

    async def run(self, activity: Activity) -> None:
        """Until cancelled."""
        while True:
            await activity.begun()
            while not activity.over():
                await self._clock.sleep(EVERY)
                self.look()

    def look(self) -> None:
        now_ms = int(self._clock.wall() * 1000)
        gone = self._lanes.take_expired(now_ms)
        for item in self._taken:
            # What is in flight may finish.
            if not item.sent and not item.over and item.expired(now_ms):
                item.over = True
                gone.append(item)
        for item in gone:
            self._end(item)
