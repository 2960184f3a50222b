"""Per partition: what is in flight, and how far it is settled without a gap."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence

from bufferproxy.log.marks import Marks, Run

TOLD = 200
"""Of those that were tried, as many as marks may have room for."""


_NO_RUNS: deque[Run] = deque()
_NO_ORDER: deque[tuple[int, int, float]] = deque()
"""Shared by the windows that have none, which are nearly all where many services are at rest; never changed.
"""


class Window:
    """Records of one partition between fetch and commit.

    They are begun in the order of their offsets and settled in any; `committable` is the offset after the
    longest settled prefix. What is done beyond it travels with the commit as `marks`; who begins with them
    does not open it again.
    """

    __slots__ = (
        "_done",
        "_open",
        "_order",
        "begun",
        "committable",
        "epoch",
        "inherited",
        "least_starts",
        "size",
        "starts",
        "tried",
    )

    def __init__(self, committed: int, epoch: int, marks: Marks | None = None) -> None:
        self.committable = committed
        self.epoch = epoch
        self.size = 0
        self.starts = 0
        """Take-overs without progress, this one included; set when the lease is written down."""
        self.least_starts = 1
        """What progress sets `starts` back to."""
        _, self.begun, done, tried = marks or Marks()
        self.inherited = self.begun
        """How far the holder before had begun to send."""
        self._done = deque(done) if done else _NO_RUNS
        """Runs that the holder before had done, beyond what was begun here."""
        self.tried = {one.offset: one for one in tried}
        """Of what keeps its place between two attempts, here or at the holder before."""
        self._order = _NO_ORDER
        self._open: dict[int, int] = {}

    def __len__(self) -> int:
        """How many are not settled."""
        return len(self._open)

    @property
    def spread(self) -> int:
        """How many lie between the commit and the newest, settled ones included: memory is bounded by it."""
        return len(self._order)

    @property
    def oldest_at(self) -> float | None:
        """When the oldest open record was appended: what is settled has left the front."""
        return self._order[0][2] if self._order else None

    def begin(self, offset: int, after: int, size: int, appended_at: float = 0.0) -> bool:
        """`after`: the offset to commit once this one and all before it are settled. `size` in bytes. False
        when it is done already. Raises ValueError when the offset is not above the last one, or below what is
        settled: a log that goes back is broken, and would take the commit back with it."""
        if self._order and offset <= self._order[-1][0]:
            raise ValueError(f"offset {offset} came after {self._order[-1][0]}")
        if offset < self.committable:
            raise ValueError(f"offset {offset} came, and all below {self.committable} is settled")
        if self._order is _NO_ORDER:
            self._order = deque()
        self._order.append((offset, after, appended_at))
        if self._done and self._was_done(offset):
            self._advance()
            return False
        self._open[offset] = size
        self.size += size
        return True

    def _was_done(self, offset: int) -> bool:
        while self._done and self._done[0][1] <= offset:
            self._done.popleft()
        return bool(self._done) and self._done[0][0] <= offset

    def let_go(self, flying: int) -> None:
        """In order: nobody's end is to be counted. What was about to be sent was not: begun is what is
        still on its way (`flying`: the highest offset, -1 for none), and what was before us."""
        self.starts = 0
        self.begun = max(self.committable, self.inherited, flying + 1)

    def sends(self, offset: int) -> None:
        """A send of this one begins now."""
        if offset >= self.begun:
            self.begun = offset + 1

    def settle(self, offset: int) -> bool:
        """True when `committable` has moved. Raises KeyError when it was not open: settled twice."""
        self.size -= self._open.pop(offset)
        if self.tried:
            self.tried.pop(offset, None)
        return self._advance()

    def _advance(self) -> bool:
        order, open_ = self._order, self._open
        moved = False
        while order and order[0][0] not in open_:
            self.committable = order.popleft()[1]
            moved = True
        if moved:
            self.progressed()
        return moved

    def progressed(self) -> None:
        """Something came of what was sent."""
        if self.starts > self.least_starts:
            self.starts = self.least_starts

    def marks(self) -> Marks:
        """What a commit of `committable` shall tell beside."""
        met = self._order[-1][1] if self._order else self.committable
        ahead = [(max(first, met), end) for first, end in self._done if end > met]
        nearest = heapq.nsmallest(TOLD, self.tried) if self.tried else ()
        tried = tuple(self.tried[offset] for offset in nearest)
        return Marks(self.starts, self.begun, (*self._settled_runs(), *ahead), tried)

    def _settled_runs(self) -> Sequence[Run]:
        """Of what was begun here and is settled beyond an open one."""
        if len(self._order) == len(self._open):
            return ()
        runs: list[Run] = []
        open_, first = self._open, -1
        for offset, after, _ in self._order:
            if offset in open_:
                first = -1
            elif first < 0:
                first = offset
                runs.append((offset, after))
            else:  # a gap between two that are done is nothing that could be open
                runs[-1] = (first, after)
        return runs

    def __repr__(self) -> str:
        return (
            f"<Window committable={self.committable} open={len(self._open)} spread={len(self._order)} "
            f"epoch={self.epoch}>"
        )
