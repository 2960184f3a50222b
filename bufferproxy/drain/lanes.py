"""Who may be sent next: what was fetched, in the order a service asked for.

`order: none` is one lane that anybody takes from; those with an order are in `keyed.py`. Memory is bounded by
the windows: what is in a lane is open in one.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection

from bufferproxy.clock import Timer
from bufferproxy.drain.window import Window
from bufferproxy.records import Partition, Request


class Item:
    """A fetched request on its way. `due` tells a delayed one from a fresh one; `sent`: it is in flight,
    from the send until what it came to is durable; `timer`: it keeps its place and waits for its time."""

    __slots__ = ("due", "request", "sent", "timer", "window")

    def __init__(self, request: Request, window: Window, *, due: bool = False) -> None:
        self.request = request
        self.window = window
        self.due = due
        self.sent = False
        self.timer: Timer | None = None

    @property
    def partition(self) -> Partition:
        return self.request.position.partition

    def __repr__(self) -> str:
        return f"<Item {self.request.id} at {self.request.position}{' due' if self.due else ''}>"


class Lanes(ABC):
    def __init__(self) -> None:
        self._takers: deque[asyncio.Future[None]] = deque()

    @abstractmethod
    def offer(self, item: Item) -> None:
        """Fetched, in the order of the log."""

    @abstractmethod
    def put_back(self, item: Item) -> None:
        """Taken, but not sent: it is next again."""

    @abstractmethod
    def ended(self, item: Item) -> None:
        """Taken, and settled: its followers may go."""

    @abstractmethod
    def discard(self, partitions: Collection[Partition]) -> None:
        """Forget what was not taken yet of partitions that are no longer ours."""

    @abstractmethod
    def __len__(self) -> int:
        """How many wait to be taken."""

    @property
    @abstractmethod
    def ready(self) -> int:
        """How many could be taken now."""

    @abstractmethod
    def _next(self) -> Item | None: ...

    async def take(self) -> Item:
        """The next item; waits for one. Cancelling loses nothing."""
        while True:
            item = self._next()
            if item is not None:
                return item
            taker = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            try:
                await taker
            except asyncio.CancelledError:
                if taker.cancelled():
                    with contextlib.suppress(ValueError):  # `_wake` may have met it first
                        self._takers.remove(taker)
                else:
                    self._wake()  # it was our turn: let another have it
                raise

    def _wake(self) -> None:
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
                return

    def __repr__(self) -> str:
        return f"<{type(self).__name__} ready={len(self)} takers={len(self._takers)}>"


class FreeLane(Lanes):
    """`order: none`. What came due is taken in turn with what is fresh."""

    def __init__(self) -> None:
        super().__init__()
        self._fresh: deque[Item] = deque()
        self._due: deque[Item] = deque()
        self._due_next = True

    def offer(self, item: Item) -> None:
        (self._due if item.due else self._fresh).append(item)
        if self._takers:
            self._wake()

    def put_back(self, item: Item) -> None:
        (self._due if item.due else self._fresh).appendleft(item)
        if self._takers:
            self._wake()

    def ended(self, item: Item) -> None:
        pass

    def discard(self, partitions: Collection[Partition]) -> None:
        self._fresh = deque(item for item in self._fresh if item.partition not in partitions)
        self._due = deque(item for item in self._due if item.partition not in partitions)

    def __len__(self) -> int:
        return len(self._fresh) + len(self._due)

    @property
    def ready(self) -> int:
        return len(self)

    def _next(self) -> Item | None:
        fresh, due = self._fresh, self._due
        if due and (self._due_next or not fresh):
            self._due_next = False
            return due.popleft()
        self._due_next = True
        return fresh.popleft() if fresh else None
