"""Records that were fetched and not taken yet, in turn over their partitions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from bufferproxy.errors import LogUnavailable
from bufferproxy.log.kafka.engine import FETCHED
from bufferproxy.records import Partition, Record
from bufferproxy.wakeup import Wakeup

RECORD_BYTES = 512
"""What a record takes beside its value: headers and objects, measured at 200 to 400 bytes in CPython 3.11."""


def size_of(records: Sequence[Record]) -> int:
    """Bytes of memory, about."""
    return sum([len(record.value) for record in records]) + RECORD_BYTES * len(records)


class Held(NamedTuple):
    """Of one partition: what waits to be taken."""

    records: int
    size: int


class Feed:
    """For one task that fetches. Lives on the loop. `taken(partition, records, size)` is called for each
    batch that leaves it, whether it was fetched or dropped."""

    def __init__(self, taken: Callable[[Partition, int, int], None]) -> None:
        self._taken = taken
        self._waiting: dict[Partition, deque[Sequence[Record]]] = {}
        self._paused: set[Partition] = set()
        self._turn: deque[Partition] = deque()
        """Partitions that have something and are not paused."""
        self._arrived = Wakeup()
        self._failure: Exception | None = None
        self._closed = False

    def offer(self, partition: Partition, records: Sequence[Record]) -> None:
        waiting = self._waiting.get(partition)
        if waiting is None:
            waiting = self._waiting[partition] = deque()
        waiting.append(records)
        if len(waiting) == 1 and partition not in self._paused:
            self._turn.append(partition)
            self._arrived.set()

    def pause(self, partition: Partition) -> None:
        if partition not in self._paused:
            self._paused.add(partition)
            if self._waiting.get(partition):
                self._turn.remove(partition)

    def resume(self, partition: Partition) -> None:
        if partition in self._paused:
            self._paused.discard(partition)
            if self._waiting.get(partition):
                self._turn.append(partition)
                self._arrived.set()

    def drop(self, partitions: Collection[Partition]) -> None:
        """Forget what waits of these, and that they are paused."""
        for partition in partitions:
            paused = partition in self._paused
            self._paused.discard(partition)
            waiting = self._waiting.pop(partition, None)
            if not waiting:
                continue
            if not paused:
                self._turn.remove(partition)
            for records in waiting:
                self._taken(partition, len(records), size_of(records))

    def fail(self, failure: Exception) -> None:
        """The next `take` that finds nothing raises this, once."""
        self._failure = failure
        self._arrived.set()

    async def take(self) -> Sequence[Record]:
        """A batch, as soon as there is one. Cancelled, it has taken nothing."""
        while True:
            if self._closed:
                raise LogUnavailable("closed")
            if self._turn:
                return self._next_batch()
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            self._arrived.clear()
            await self._arrived.wait()

    def _next_batch(self) -> Sequence[Record]:
        found: list[Record] = []
        while self._turn and len(found) < FETCHED:
            partition = self._turn.popleft()
            waiting = self._waiting[partition]
            records = waiting.popleft()
            if waiting:
                self._turn.append(partition)
            self._taken(partition, len(records), size_of(records))
            found.extend(records)
        return found

    def close(self) -> None:
        self._closed = True
        self.drop(list(self._waiting))
        self._arrived.set()

    @property
    def closed(self) -> bool:
        return self._closed

    def __repr__(self) -> str:
        waiting = sum(len(records) for batches in self._waiting.values() for records in batches)
        return f"<Feed {waiting} records, {len(self._paused)} paused>"
