"""Lanes with an order: one for each key, or one for all.

`order: key` gives out the next of a key only when the one before has ended; `order: strict` is a single
key. A request without a key has no order to keep.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from bufferproxy.drain.lanes import Item, Lanes, Ready
from bufferproxy.records import Partition

Lane = bytes | tuple[bytes, int]
"""A key, perhaps with a priority."""


class KeyedLanes(Lanes):
    """`order: key`, and `order: strict` with `single`: then all share one lane, keys or not.

    A lane's head is ready or taken, and its followers wait behind it. What is told of an item that is no
    longer a head is about a partition that has left us since: its records come again to who holds it now.
    """

    def __init__(self, *, single: bool = False, priorities: bool = False) -> None:
        super().__init__()
        self._single = single
        self._ready = Ready(priorities=priorities)
        self._heads: dict[Lane, Item] = {}
        self._behind: dict[Lane, deque[Item]] = {}
        """Of the heads that have followers."""

    def offer(self, item: Item) -> None:
        key = self._lane_of(item)
        if key is not None:
            if key in self._heads:
                self._behind.setdefault(key, deque()).append(item)
                return
            self._heads[key] = item
        self._make_ready(item)

    def put_back(self, item: Item, *, behind: bool = False) -> None:
        key = self._lane_of(item)
        if key is None or self._heads.get(key) is item:
            (self._ready.add if behind else self._ready.add_first)(item)
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
        self._ready.take_out(lambda item: item.partition in partitions)
        for key, head in tuple(self._heads.items()):
            if head.partition in partitions:
                if head.timer is not None:
                    head.timer.cancel()
                self._follow(key)

    def take_out(self, partition: Partition, enough: int, beside: Collection[Partition]) -> list[Item]:
        """Whole lanes whose head waits for its time in one of the partitions `beside`, head first, those with
        the most of `partition` first, until `enough` items of that are out."""
        lanes: list[tuple[int, Lane]] = []
        for lane, head in self._heads.items():
            if head.timer is not None and head.partition in beside:
                lanes.append((sum(item.partition == partition for item in self._lane(lane)), lane))
        out: list[Item] = []
        for count, lane in sorted(lanes, reverse=True):
            if enough <= 0 or not count:
                break
            enough -= count
            out += self._pop(lane)
        return out

    def take_expired(self, now_ms: int) -> list[Item]:
        gone = self._ready.take_out(lambda item: item.expired(now_ms))
        for head in self._heads.values():
            if head.timer is not None and head.expired(now_ms):
                head.timer.cancel()
                head.timer = None
                gone.append(head)
        for key, behind in tuple(self._behind.items()):
            expired = [item for item in behind if item.expired(now_ms)]
            if expired:
                gone += expired
                self._behind[key] = kept = deque(item for item in behind if not item.expired(now_ms))
                if not kept:
                    del self._behind[key]
        return gone

    def __len__(self) -> int:
        return len(self._ready) + sum(map(len, self._behind.values()))

    @property
    def ready(self) -> int:
        return len(self._ready)

    def _next(self) -> Item | None:
        return self._ready.next()

    def _lane_of(self, item: Item) -> Lane | None:
        return b"" if self._single else item.request.key

    def _lane(self, lane: Lane) -> list[Item]:
        """Head first; empty when there is none."""
        head = self._heads.get(lane)
        return [] if head is None else [head, *self._behind.get(lane, ())]

    def _pop(self, lane: Lane) -> list[Item]:
        items = self._lane(lane)
        self._heads.pop(lane, None)
        self._behind.pop(lane, None)
        return items

    def _follow(self, key: Lane) -> None:
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
        self._ready.add(item)
        if self._takers:
            self._wake()
