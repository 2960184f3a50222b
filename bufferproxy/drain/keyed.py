"""Lanes with an order: one for each key, or one for all.

`order: key` gives out the next of a key only when the one before has ended; `order: strict` is a single
key. A request without a key has no order to keep.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from bufferproxy.drain.lanes import Item, Lanes
from bufferproxy.records import Partition


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
                if head.timer is not None:
                    head.timer.cancel()
                self._follow(key)

    def take_out(self, partition: Partition, enough: int) -> list[Item]:
        """Whole lanes of `partition` whose head waits for its time, head first, the longest lanes first,
        until `enough` items are out."""
        lanes = [
            (len(self._behind.get(key, ())), key)
            for key, head in self._heads.items()
            if head.timer is not None and head.partition == partition
        ]
        out: list[Item] = []
        for _, key in sorted(lanes, reverse=True):
            if len(out) >= enough:
                break
            out.append(self._heads.pop(key))
            out.extend(self._behind.pop(key, ()))
        return out

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
