"""Who may be sent next: what was fetched, in the order a service asked for.

`order: none` is one lane that anybody takes from; those with an order are in `keyed.py`. Memory is bounded by
the windows: what is in a lane is open in one.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection

from bufferproxy.clock import Timer
from bufferproxy.drain.turns import Turns
from bufferproxy.drain.window import Window
from bufferproxy.records import Partition, Priority, Request

WEIGHTS = {Priority.HIGH: 16, Priority.NORMAL: 4, Priority.LOW: 1}
"""While there is some of each: so many of each in turn."""


class Item:
    """A fetched request on its way. `due` tells a delayed one from a fresh one; `sent`: it is in flight,
    from the send until what it came to is durable; `timer`: it keeps its place and waits for its time;
    `until`: when its retry has waited, by `Clock.now`; `placed`: it was given a turn of its busy key;
    `over`: it has ended while somebody held it to send it."""

    __slots__ = ("due", "over", "placed", "request", "sent", "timer", "until", "window")

    def __init__(self, request: Request, window: Window, *, due: bool = False) -> None:
        self.request = request
        self.window = window
        self.due = due
        self.sent = False
        self.over = False
        self.placed = False
        self.timer: Timer | None = None
        self.until: float | None = None

    @property
    def partition(self) -> Partition:
        return self.request.position.partition

    def expired(self, now_ms: int) -> bool:
        expires_at = self.request.expires_at
        return expires_at is not None and now_ms >= expires_at

    def __repr__(self) -> str:
        return f"<Item {self.request.id} at {self.request.position}{' due' if self.due else ''}>"


class Ready:
    """What may be sent now: by priority where a service has any, and what came due in turn with what is
    fresh."""

    def __init__(self, *, priorities: bool) -> None:
        classes = tuple(WEIGHTS) if priorities else (Priority.NORMAL,)
        queues: list[tuple[deque[Item], deque[Item]]] = [(deque(), deque()) for _ in classes]
        self._plain = not priorities
        levels: list[Turns[Item]] = [Turns(pair, (1, 1)) for pair in queues]
        self._next: Turns[Item] = levels[0] if len(levels) == 1 else Turns(levels, tuple(WEIGHTS.values()))
        self._queues = [queue for pair in queues for queue in pair]
        number = {priority: classes.index(priority) if priorities else 0 for priority in Priority}
        self._due = [queues[number[priority]][0] for priority in sorted(Priority)]
        self._fresh = [queues[number[priority]][1] for priority in sorted(Priority)]

    def __len__(self) -> int:
        return sum(map(len, self._queues))

    def add(self, item: Item) -> None:
        (self._due if item.due else self._fresh)[item.request.priority].append(item)

    def add_first(self, item: Item) -> None:
        (self._due if item.due else self._fresh)[item.request.priority].appendleft(item)

    def next(self) -> Item | None:
        if self._plain and not self._queues[0]:  # nearly always: nobody's turn has to be found
            fresh = self._queues[1]
            return fresh.popleft() if fresh else None
        return self._next.popleft() if self._next else None

    def take_out(self, wanted: Callable[[Item], bool]) -> list[Item]:
        """All that is `wanted`."""
        out: list[Item] = []
        for queue in self._queues:
            found = [item for item in queue if wanted(item)]
            if found:
                kept = [item for item in queue if not wanted(item)]
                queue.clear()
                queue.extend(kept)
                out += found
        return out


class Lanes(ABC):
    def __init__(self) -> None:
        self._takers: deque[asyncio.Future[None]] = deque()

    @abstractmethod
    def offer(self, item: Item) -> None:
        """Fetched, in the order of the log."""

    @abstractmethod
    def put_back(self, item: Item, *, behind: bool = False) -> None:
        """Taken, and not settled: it is next again, or, `behind`, when the others have had their turn (with
        an order: other keys)."""

    @abstractmethod
    def ended(self, item: Item) -> None:
        """Taken, and settled: its followers may go."""

    @abstractmethod
    def discard(self, partitions: Collection[Partition]) -> None:
        """Forget what was not taken yet of partitions that are no longer ours."""

    @abstractmethod
    def take_expired(self, now_ms: int) -> list[Item]:
        """What was not taken and has expired, out of the lanes: `ended` must follow."""

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

    def __init__(self, *, priorities: bool = False) -> None:
        super().__init__()
        self._ready = Ready(priorities=priorities)

    def offer(self, item: Item) -> None:
        self._ready.add(item)
        if self._takers:
            self._wake()

    def put_back(self, item: Item, *, behind: bool = False) -> None:
        (self._ready.add if behind else self._ready.add_first)(item)
        if self._takers:
            self._wake()

    def ended(self, item: Item) -> None:
        pass

    def discard(self, partitions: Collection[Partition]) -> None:
        self._ready.take_out(lambda item: item.partition in partitions)

    def take_expired(self, now_ms: int) -> list[Item]:
        return self._ready.take_out(lambda item: item.expired(now_ms))

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def ready(self) -> int:
        return len(self)

    def _next(self) -> Item | None:
        return self._ready.next()
