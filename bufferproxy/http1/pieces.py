"""A body that comes in pieces."""

from __future__ import annotations

_LOOSE = 1024


class Pieces:
    """Keeps pieces until all are there. Small ones are put together on the way: each costs fifty bytes beside
    those it holds."""

    __slots__ = ("_loose", "_parts")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._loose = 0

    def add(self, piece: bytes) -> None:
        parts = self._parts
        parts.append(piece)
        self._loose += 1
        if self._loose == _LOOSE:
            parts[-_LOOSE:] = [b"".join(parts[-_LOOSE:])]
            self._loose = 0

    def clear(self) -> None:
        self._parts.clear()
        self._loose = 0

    def whole(self) -> bytes:
        parts = self._parts
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def __repr__(self) -> str:
        return f"<Pieces {len(self._parts)} parts>"
