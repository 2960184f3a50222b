"""Two sums over the last seconds, at the cost of two additions: for shares of counted things."""

from __future__ import annotations

SLICES = 10
"""What is counted is forgotten a slice at a time: up to a tenth of the window too early, never too late."""


class Sliding:
    """Sums of (`part`, `whole`) over the last `window` seconds."""

    __slots__ = ("_part", "_slices", "_whole", "_width", "window")

    def __init__(self, window: float) -> None:
        self.window = window
        self._width = window / SLICES
        self._slices: list[tuple[int, float, float]] = []
        self._part = 0.0
        self._whole = 0.0

    def add(self, now: float, part: float, whole: float) -> None:
        self._forget(now)
        index = int(now // self._width)
        if self._slices and self._slices[-1][0] == index:
            _, before, of = self._slices.pop()
            self._slices.append((index, before + part, of + whole))
        else:
            self._slices.append((index, part, whole))
        self._part += part
        self._whole += whole

    def sums(self, now: float) -> tuple[float, float]:
        """(part, whole)."""
        self._forget(now)
        return self._part, self._whole

    def clear(self) -> None:
        self._slices.clear()
        self._part = self._whole = 0.0

    def _forget(self, now: float) -> None:
        oldest = int(now // self._width) - SLICES
        while self._slices and self._slices[0][0] <= oldest:
            _, part, whole = self._slices.pop(0)
            self._part -= part
            self._whole -= whole

    def __repr__(self) -> str:
        return f"<Sliding {self._part:g} of {self._whole:g} in {self.window:g} s>"
