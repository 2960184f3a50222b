"""Per partition: what is in flight, and how far it is settled without a gap."""

from __future__ import annotations

from collections import deque


class Window:
    """Records of one partition between fetch and commit.

    They are begun in the order of their offsets and settled in any; `committable` is the offset after the
    longest settled prefix. What is completed beyond it is not committed: after a crash it comes again.
    """

    __slots__ = ("_open", "_order", "committable", "epoch", "size")

    def __init__(self, committed: int, epoch: int) -> None:
        self.committable = committed
        self.epoch = epoch
        self.size = 0
        self._order: deque[tuple[int, int, float]] = deque()
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

    def begin(self, offset: int, after: int, size: int, appended_at: float = 0.0) -> None:
        """`after`: the offset to commit once this one and all before it are settled. `size` in bytes.
        Raises ValueError when the offset is not above the last one, or below what is settled: a log that
        goes back is broken, and would take the commit back with it."""
        if self._order and offset <= self._order[-1][0]:
            raise ValueError(f"offset {offset} came after {self._order[-1][0]}")
        if offset < self.committable:
            raise ValueError(f"offset {offset} came, and all below {self.committable} is settled")
        self._order.append((offset, after, appended_at))
        self._open[offset] = size
        self.size += size

    def settle(self, offset: int) -> bool:
        """True when `committable` has moved. Raises KeyError when it was not open: settled twice."""
        self.size -= self._open.pop(offset)
        order, open_ = self._order, self._open
        moved = False
        while order and order[0][0] not in open_:
            self.committable = order.popleft()[1]
            moved = True
        return moved

    def __repr__(self) -> str:
        return (
            f"<Window committable={self.committable} open={len(self._open)} spread={len(self._order)} "
            f"epoch={self.epoch}>"
        )
