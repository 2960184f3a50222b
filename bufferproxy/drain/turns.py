"""Whose turn it is among queues of different weight: smooth weighted round robin. Pure.

Each pick gives every queue that has something its weight as credit, takes from the richest, and takes the sum
of these weights back from it. So while several have something, each is picked in proportion to its weight,
evenly spread, and none waits for longer than two rounds of as many picks as the weights come to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Queue(Protocol[T_co]):
    """A deque, or Turns of others."""

    def __len__(self) -> int: ...

    def popleft(self) -> T_co: ...


class Turns(Generic[T]):
    """`queues` with the weight of each; of equals the first goes first."""

    __slots__ = ("_credits", "_queues", "_weights")

    def __init__(self, queues: Sequence[Queue[T]], weights: Sequence[int]) -> None:
        self._queues = queues
        self._weights = weights
        self._credits = [0] * len(weights)

    def __bool__(self) -> bool:
        return any(self._queues)

    def __len__(self) -> int:
        return sum(map(len, self._queues))

    def popleft(self) -> T:
        """Raises IndexError when all are empty."""
        ready = [number for number, queue in enumerate(self._queues) if queue]
        if len(ready) > 1:
            return self._queues[self._picked(ready)].popleft()
        if not ready:
            raise IndexError("nothing waits")
        # Alone it takes all there is, and owes nobody for it.
        self._credits = [0] * len(self._weights)
        return self._queues[ready[0]].popleft()

    def _picked(self, ready: Sequence[int]) -> int:
        credits_, weights = self._credits, self._weights
        for number in ready:
            credits_[number] += weights[number]
        richest = max(ready, key=credits_.__getitem__)
        credits_[richest] -= sum([weights[number] for number in ready])
        return richest

    def __repr__(self) -> str:
        return f"<Turns {self._weights} {self._credits}>"
