"""What this worker holds: a window for each leased partition, and the gate between fetch and memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

from bufferproxy.drain.read_ahead import Part, ReadAhead
from bufferproxy.drain.window import Window
from bufferproxy.log.contract import Lease
from bufferproxy.log.marks import Tried, decode, encode
from bufferproxy.records import Partition, Record, Request


class Bounds(NamedTuple):
    """When a partition is paused: so many open records, and records between its commit and its newest one;
    or its service has used up its part of the memory (`read_ahead.py`). It resumes at half of each."""

    open: int
    spread: int = 100_000


CROWDED = 0.75
"""Share of its bounds from which on a partition is relieved of what waits: it takes a while, and others come
meanwhile."""


class Commit(NamedTuple):
    epoch: int
    offset: int
    marks: str


class Gate:
    """The two calls of a reader that hold fetching back."""

    def __init__(self, pause: Callable[[Partition], None], resume: Callable[[Partition], None]) -> None:
        self.pause = pause
        self.resume = resume


class Holding:
    def __init__(self, bounds: Callable[[Partition], Bounds], ahead: ReadAhead | None = None) -> None:
        self._bounds = bounds
        self._memory = Part(ahead or ReadAhead())
        self._windows: dict[Partition, Window] = {}
        self._bounds_of: dict[Partition, Bounds] = {}
        self._full: set[Partition] = set()
        self._moved: set[Partition] = set()
        self.gate: Gate | None = None
        self.stirred: Callable[[], None] = _nothing
        """Called when there is something to commit, after there was nothing."""

    def __len__(self) -> int:
        return len(self._windows)

    def __iter__(self) -> Iterator[Partition]:
        return iter(self._windows)

    def grant(self, leases: Mapping[Partition, Lease]) -> None:
        """A partition that is held already keeps its window: its records will not come again."""
        for partition, lease in leases.items():
            window = self._windows.get(partition)
            if window is None:
                marks = decode(lease.marks, lease.committed)
                self._windows[partition] = Window(lease.committed, lease.epoch, marks)
                self._bounds_of[partition] = self._bounds(partition)
            else:
                window.epoch = lease.epoch
                if partition in self._full and self.gate is not None:
                    self.gate.pause(partition)

    def drop(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            window = self._windows.pop(partition, None)
            if window is not None:
                self._memory.add(-window.size)
            self._bounds_of.pop(partition, None)
            self._full.discard(partition)
            self._moved.discard(partition)
        self._resume()

    def touch(self, partition: Partition) -> None:
        """What its commit tells has changed."""
        if partition in self._windows:
            self._move(partition)

    def release(self, partitions: Collection[Partition], flying: Mapping[Partition, int]) -> None:
        """They are let go in order. `flying`: the highest offset that is still in flight, where there is
        one."""
        for partition in partitions:
            window = self._windows.get(partition)
            if window is not None:
                window.let_go(flying.get(partition, -1))
                self._move(partition)

    def tried(self, request: Request, window: Window) -> None:
        """It keeps its place until its next attempt, and who holds the partition then knows."""
        partition, offset = request.position
        window.progressed()
        window.tried[offset] = Tried(offset, request.sends, request.attempts, request.due_at or 0)
        self.touch(partition)

    def surplus(self, partition: Partition) -> int:
        """How many should leave a partition so that it need not be paused, or is read on; 0: none."""
        window = self._windows.get(partition)
        if window is None:
            return 0
        open_, _ = self._bounds_of[partition]
        crowded = len(window) >= CROWDED * open_ or self._memory.full(CROWDED)
        return max(1, len(window) - open_ // 2) if crowded or partition in self._full else 0

    def window(self, partition: Partition) -> Window | None:
        return self._windows.get(partition)

    def begin(self, record: Record, after: int) -> Window | None:
        """Take a fetched record in; None when its partition is not ours any more, or it is done already."""
        partition, offset, _, value, headers, appended_at = record
        window = self._windows.get(partition)
        if window is None:
            return None
        size = len(value) + sum([len(header[1]) for header in headers])
        if not window.begin(offset, after, size, appended_at):
            self._move(partition)
            return None
        self._memory.add(size)
        open_, spread = self._bounds_of[partition]
        if (
            len(window) >= open_ or window.spread >= spread or self._memory.full()
        ) and partition not in self._full:
            self._full.add(partition)
            if self.gate is not None:
                self.gate.pause(partition)
        return window

    def settle(self, partition: Partition, offset: int, window: Window) -> bool:
        """False when the partition has left us since: then there is nothing to commit."""
        if self._windows.get(partition) is not window:
            return False
        before = window.size
        window.settle(offset)
        self._memory.add(window.size - before)
        self._move(partition)
        if self._full:
            self._resume()
        return True

    def _resume(self) -> None:
        """What has room again: what leaves one partition may make it for the others."""
        if self._memory.full(0.5):
            return
        for partition in tuple(self._full):
            window, (open_, spread) = self._windows[partition], self._bounds_of[partition]
            if len(window) <= open_ // 2 and window.spread <= spread // 2:
                self._full.discard(partition)
                if self.gate is not None:
                    self.gate.resume(partition)

    def committable(self, among: Collection[Partition] | None = None) -> dict[Partition, Commit]:
        """What to commit of partitions of which something was settled since it was last asked for."""
        moved = set(self._moved) if among is None else self._moved & set(among)
        self._moved -= moved
        if self._moved:
            self.stirred()
        found = {}
        for partition in moved:
            window = self._windows[partition]
            found[partition] = Commit(
                window.epoch, window.committable, encode(window.marks(), window.committable)
            )
        return found

    def not_committed(self, partitions: Collection[Partition]) -> None:
        """A commit failed: these are to be committed again."""
        for partition in partitions:
            if partition in self._windows:
                self._move(partition)

    def _move(self, partition: Partition) -> None:
        if not self._moved:
            self.stirred()
        self._moved.add(partition)

    @property
    def backlogged(self) -> int:
        """Partitions of which something is open."""
        return sum(1 for window in self._windows.values() if len(window))

    @property
    def oldest_at(self) -> float | None:
        return min(
            (at for window in self._windows.values() if (at := window.oldest_at) is not None), default=None
        )

    def open(self, topic: str | None = None) -> int:
        return sum(
            len(window)
            for partition, window in self._windows.items()
            if topic is None or partition.topic == topic
        )

    def __repr__(self) -> str:
        return f"<Holding partitions={len(self._windows)} open={self.open()} full={len(self._full)}>"


def _nothing() -> None: ...
