"""Copies of one key in their order, those of different keys side by side.

The next copy of a key is appended when the one before it is stored. What the log refuses is tried again, and
what follows it waits. So of a key always the first ones of a line are stored, whatever fails and whoever
ends: the last one that is there tells how far they go. A copy that is made twice is known by what it is a
copy of.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from bufferproxy.records import Entry

Append = Callable[[Entry, Callable[[bool], None]], None]
"""Appends it and tells whether it is stored. When it is not, some time later."""


class Copy:
    """`stored` is called when it is; `wanted` tells whether it shall still be made when its turn has come;
    `ready`: what must be durable before it is."""

    __slots__ = ("entry", "ready", "stored", "wanted")

    def __init__(self, entry: Entry, stored: Callable[[], None], wanted: Callable[[], bool]) -> None:
        self.entry = entry
        self.stored = stored
        self.wanted = wanted
        self.ready = False


class Line:
    """Of one key. `append` puts them where all of this key go."""

    def __init__(self, append: Append) -> None:
        self.append = append
        self.copies: deque[Copy] = deque()
        self.under_way = False


class Lines:
    def __init__(self) -> None:
        self._lines: dict[bytes, Line] = {}

    def __len__(self) -> int:
        return sum(len(line.copies) for line in self._lines.values())

    def join(self, key: bytes, copy: Copy, append: Append) -> None:
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(append)
        line.copies.append(copy)

    def ready(self, key: bytes, copy: Copy) -> None:
        copy.ready = True
        self._go_on(key)

    def _go_on(self, key: bytes) -> None:
        line = self._lines.get(key)
        if line is None or line.under_way:
            return
        copies = line.copies
        while copies and not copies[0].wanted():
            copies.popleft()  # whoever holds its partition now copies it
        if not copies:
            del self._lines[key]
        elif copies[0].ready:
            line.under_way = True
            line.append(copies[0].entry, lambda stored: self._decided(key, line, stored))

    def _decided(self, key: bytes, line: Line, stored: bool) -> None:  # noqa: FBT001
        line.under_way = False
        if stored:
            line.copies.popleft().stored()
        self._go_on(key)

    def __repr__(self) -> str:
        return f"<Lines {len(self)} copies of {len(self._lines)} keys>"
