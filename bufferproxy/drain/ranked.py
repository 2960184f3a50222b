"""Lanes of keys where a service has priorities: a lane for each key and priority, one of a key at a time.

Order holds among requests of one key and one priority. Those of other priorities need not wait in line behind
them: the most urgent one that is first in its lane has the next turn of its key. From when it is taken until
it has ended the key is its own, retries and delays included.
"""

from __future__ import annotations

from collections.abc import Collection

from bufferproxy.drain.keyed import KeyedLanes, Lane
from bufferproxy.drain.lanes import Item
from bufferproxy.records import Partition, Priority


class RankedLanes(KeyedLanes):
    def __init__(self) -> None:
        super().__init__(priorities=True)
        self._holders: dict[bytes, Item] = {}
        """Of each key, the one that was taken and has not ended."""
        self._stalled: dict[bytes, list[Item]] = {}
        """Heads whose turn came while another of their key had it."""

    def ended(self, item: Item) -> None:
        super().ended(item)
        self._free(item)

    def discard(self, partitions: Collection[Partition]) -> None:
        for key, stalled in tuple(self._stalled.items()):
            self._stall(key, [item for item in stalled if item.partition not in partitions])
        super().discard(partitions)
        for holder in tuple(self._holders.values()):
            if holder.partition in partitions:
                self._free(holder)

    def take_expired(self, now_ms: int) -> list[Item]:
        gone = super().take_expired(now_ms)
        for key, stalled in tuple(self._stalled.items()):
            gone += [item for item in stalled if item.expired(now_ms)]
            self._stall(key, [item for item in stalled if not item.expired(now_ms)])
        return gone

    def take_out(self, partition: Partition, enough: int, beside: Collection[Partition]) -> list[Item]:
        """As KeyedLanes, and of a key all or nothing: whoever parks some of it parks what comes of it."""
        keys: list[tuple[int, bytes]] = []
        for key, holder in self._holders.items():
            if holder.timer is not None and holder.partition in beside:
                lanes = (self._lane(self._lane_named(key, priority)) for priority in Priority)
                keys.append((sum(item.partition == partition for lane in lanes for item in lane), key))
        chosen: dict[bytes, Item] = {}
        for count, key in sorted(keys, reverse=True):
            if enough <= 0 or not count:
                break
            enough -= count
            chosen[key] = self._holders.pop(key)
            self._stalled.pop(key, None)
        self._ready.take_out(lambda item: item.request.key in chosen)
        out: list[Item] = []
        for key, holder in chosen.items():
            mine = [item for priority in Priority for item in self._pop(self._lane_named(key, priority))]
            out += [holder, *(item for item in mine if item is not holder)]
        return out

    def __len__(self) -> int:
        return super().__len__() + sum(map(len, self._stalled.values()))

    def _next(self) -> Item | None:
        while (item := super()._next()) is not None:
            key = item.request.key
            if key is None or self._holders.setdefault(key, item) is item:
                return item
            self._stalled.setdefault(key, []).append(item)
        return None

    def _lane_of(self, item: Item) -> Lane | None:
        key = item.request.key
        return None if key is None else self._lane_named(key, item.request.priority)

    @staticmethod
    def _lane_named(key: bytes, priority: Priority) -> Lane:
        return key, int(priority)

    def _free(self, item: Item) -> None:
        """If the key was its own, it is no more: whose turn had come has it again."""
        key = item.request.key
        if key is not None and self._holders.get(key) is item:
            del self._holders[key]
            for stalled in self._stalled.pop(key, ()):
                self._ready.add_first(stalled)
                if self._takers:
                    self._wake()

    def _stall(self, key: bytes, items: list[Item]) -> None:
        if items:
            self._stalled[key] = items
        else:
            del self._stalled[key]
