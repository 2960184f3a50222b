"""Plain numbers that events are counted in: fast to change, quick to copy."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_REASONS = 40
"""A counter takes no more label values than this; later ones are counted as `other`: a service makes up its
statuses, and a mistake of ours must not put ids into the labels."""


class Histogram:
    """`counts[i]` observations were at most `bounds[i]` and above the bound before; the last has no bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def observe_all(self, values: Sequence[float]) -> None:
        bounds, counts = self.bounds, self.counts
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self.total += sum(values)

    def cumulated(self) -> list[tuple[float, int]]:
        """(upper bound, observations up to it), the last bound being infinity."""
        so_far, rows = 0, []
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            so_far += count
            rows.append((bound, so_far))
        return rows

    def __copy__(self) -> Histogram:
        twin = Histogram.__new__(Histogram)
        twin.bounds, twin.counts, twin.total = self.bounds, self.counts.copy(), self.total
        return twin

    def __repr__(self) -> str:
        return f"<Histogram {sum(self.counts)} observations, sum {self.total:g}>"


class Tally(dict[str, float]):
    """Counts by label value; those of a closed set are there from the start."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        super().__init__(dict.fromkeys(known, 0))

    def __copy__(self) -> Tally:
        twin = Tally()
        twin.update(self)
        return twin

    def add(self, value: str, amount: float = 1) -> None:
        try:
            self[value] += amount
        except KeyError:
            value = value if len(self) < MOST_REASONS else "other"
            self[value] = self.get(value, 0) + amount
