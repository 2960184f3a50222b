"""Whether a service is at rest: then nobody looks after it, however many services there are.

It is active while something was fetched that is not settled, but for what lies in the tiers of `.delayed`:
these have a timer of their own, and say when something comes due.
"""

from __future__ import annotations

from collections.abc import Callable

from bufferproxy.wakeup import Wakeup


class Activity:
    """`held`: how many requests are open here that do not wait in a tier."""

    def __init__(self, held: Callable[[], int]) -> None:
        self._held = held
        self._on = Wakeup()

    def __bool__(self) -> bool:
        """True also for a while after the last request has ended."""
        return self._on.is_set()

    def stir(self) -> None:
        """Something was fetched, or came due."""
        self._on.set()

    async def begun(self) -> None:
        """Returns when it is active."""
        await self._on.wait()

    def over(self) -> bool:
        """Look again whether it is at rest."""
        if self._held():
            return False
        self._on.clear()
        return True

    def __repr__(self) -> str:
        return f"<Activity {'on' if self._on.is_set() else 'at rest'}>"
