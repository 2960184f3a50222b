"""Who may be sent next: the order a service asked for, kept within what was fetched.

`order: none` is one lane that anybody takes from; `order: key` has a lane for each key, and gives out the
next of a key only when the one before has ended; `order: strict` is a single key. A request without a key
has no order to keep. Memory is bounded by the windows: what is in a lane is open in one.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection

from bufferproxy.drain.window import Window
from bufferproxy.records import Partition, Request


class Item:
    """A fetched request on its way. `due` tells a delayed one from a fresh one; `sent`: it is in flight,
    from the send until what it came to is durable."""

    __slots__ = ("due", "request", "sent", "window")

    def __init__(self, request: Request, window: Window, *, due: bool = False) -> None:
        self.request = request
        self.window = window
        self.due = due
        self.sent = False

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


class KeyedLanes(Lanes):
    """`order: key`, and `order: strict` with `single`: then all share one lane, keys or not.

    A lane's head is ready or taken, and its followers wait behind it. What is told of an item that is no
    longer a head is about a partition that has left us since: its records come again to who holds it now.
    """

    def __init__(self, *, single: bool = False) -> None:
        super().__init__()
        self._single = single
        self._ready: deque[Item] = deque()
        self._heads: dict[bytes, Item] = {}
        self._behind: dict[bytes, deque[Item]] = {}
        """Of the heads that have followers."""

    def offer(self, item: Item) -> None:
        key = self._lane_of(item)
        if key is not None:
            if key in self._heads:
                self._behind.setdefault(key, deque()).append(item)
                return
            self._heads[key] = item
        self._make_ready(item)

    def put_back(self, item: Item) -> None:
        key = self._lane_of(item)
        if key is None or self._heads.get(key) is item:
            self._ready.appendleft(item)
            if self._takers:
                self._wake()

    def ended(self, item: Item) -> None:
        key = self._lane_of(item)
        if key is not None and self._heads.get(key) is item:
            self._follow(key)

    def discard(self, partitions: Collection[Partition]) -> None:
        for key, behind in tuple(self._behind.items()):
            kept = deque(item for item in behind if item.partition not in partitions)
            if kept:
                self._behind[key] = kept
            else:
                del self._behind[key]
        self._ready = deque(item for item in self._ready if item.partition not in partitions)
        for key, head in tuple(self._heads.items()):
            if head.partition in partitions:
                self._follow(key)

    def __len__(self) -> int:
        return len(self._ready) + sum(map(len, self._behind.values()))

    @property
    def ready(self) -> int:
        return len(self._ready)

    def _next(self) -> Item | None:
        return self._ready.popleft() if self._ready else None

    def _lane_of(self, item: Item) -> bytes | None:
        return b"" if self._single else item.request.key

    def _follow(self, key: bytes) -> None:
        """The head of this lane is gone: the next one takes its place."""
        behind = self._behind.get(key)
        if behind is None:
            del self._heads[key]
            return
        head = self._heads[key] = behind.popleft()
        if not behind:
            del self._behind[key]
        self._make_ready(head)

    def _make_ready(self, item: Item) -> None:
        self._ready.append(item)
        if self._takers:
            self._wake()
