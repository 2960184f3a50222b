"""Work that one turn of the loop is not to do at once: it goes on in later turns, one piece in each."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Turns:
    """Runs one piece of what is left over in each turn of the loop, in the order in which it came.

    One piece, not one for each connection that has some: what is left over, however many have it, costs
    everybody else one piece a turn.
    """

    __slots__ = ("_scheduled", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._scheduled = False

    def later(self, piece: Callable[[], None]) -> None:
        """`piece` must not raise; it asks again for a turn if it leaves something over."""
        self._waiting.append(piece)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        piece = self._waiting.popleft()
        try:
            piece()
        finally:
            self._scheduled = bool(self._waiting)
            if self._scheduled:
                asyncio.get_running_loop().call_soon(self._run)

    def __repr__(self) -> str:
        return f"<Turns {len(self._waiting)} waiting>"
