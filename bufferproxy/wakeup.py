"""What one task waits for, and others cause."""

from __future__ import annotations

import asyncio


class Wakeup:
    """An asyncio.Event for one waiter. There are several of them for each service, and a service with nothing
    to do must cost next to nothing: this takes a tenth of the memory."""

    __slots__ = ("_on", "_waiter")

    def __init__(self) -> None:
        self._on = False
        self._waiter: asyncio.Future[None] | None = None

    def is_set(self) -> bool:
        return self._on

    def set(self) -> None:
        self._on = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def clear(self) -> None:
        self._on = False

    async def wait(self) -> None:
        """Returns at once while it is set. Raises RuntimeError where somebody waits already."""
        if self._on:
            return
        if self._waiter is not None:
            raise RuntimeError("one waits already")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def __repr__(self) -> str:
        return f"<Wakeup {'on' if self._on else 'off'}{' awaited' if self._waiter else ''}>"
