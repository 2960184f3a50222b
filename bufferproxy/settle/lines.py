"""Copies of one key, one after the other; those of different keys side by side.

A copy that the log refuses is tried again, and what follows it waits. So of a key always the first ones of a
line are stored, whatever fails and whoever ends: the last one that is there tells how far they go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

Append = Callable[[Callable[[], None]], None]
"""Appends something, trying until it works, and then calls what it is given."""


class Copy:
    """`wanted`: whether it shall still be made when its turn has come. `ready`: what must be durable before
    it is."""

    __slots__ = ("append", "begun", "ready", "stored", "wanted")

    def __init__(self, append: Append, stored: Callable[[], None], wanted: Callable[[], bool]) -> None:
        self.append = append
        self.stored = stored
        self.wanted = wanted
        self.ready = self.begun = False


class Lines:
    def __init__(self) -> None:
        self._lines: dict[bytes, deque[Copy]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def join(self, key: bytes, copy: Copy) -> None:
        self._lines.setdefault(key, deque()).append(copy)

    def ready(self, key: bytes, copy: Copy) -> None:
        copy.ready = True
        self._go_on(key)

    def _go_on(self, key: bytes) -> None:
        line = self._lines.get(key)
        if line is None or line[0].begun:
            return
        while line and not line[0].wanted():
            line.popleft()  # whoever holds its partition now copies it
        if not line:
            del self._lines[key]
        elif line[0].ready:
            line[0].begun = True
            line[0].append(lambda: self._stored(key))

    def _stored(self, key: bytes) -> None:
        line = self._lines[key]
        copy = line.popleft()
        if not line:
            del self._lines[key]
        copy.stored()
        self._go_on(key)

    def __repr__(self) -> str:
        return f"<Lines {len(self)} copies of {len(self._lines)} keys>"
