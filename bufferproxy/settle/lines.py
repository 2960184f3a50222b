"""Copies of one key in their order, those of different keys side by side.

A few of a key are appended together, all or none (`LogWriter.submit_together`), and the next when these are
stored. What the log refuses is tried again, and what follows it waits. So of a key always the first ones of a
line are stored, whatever fails and whoever ends: the last one that is there tells how far they go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice

from bufferproxy.records import Entry

TOGETHER = 50
"""Copies that are appended together, at most."""
BYTES = 256 << 10
"""Bytes of their bodies."""

Append = Callable[[list[Entry], Callable[[bool], None]], None]
"""Appends them together and tells whether they are stored. When they are not, some time later."""


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
        self.under_way = 0
        self.alone = False
        """Together they could not be stored; it may be that one is too large."""

    def next_ones(self) -> list[Entry]:
        """The first, as far as they are ready and wanted, and may go together."""
        while self.copies and not self.copies[0].wanted():
            self.copies.popleft()  # whoever holds its partition now copies it
        found: list[Entry] = []
        size = 0
        for copy in islice(self.copies, 1 if self.alone else TOGETHER):
            size += len(copy.entry.value)
            if not copy.ready or (found and (size > BYTES or not copy.wanted())):
                break
            found.append(copy.entry)
        return found


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
        entries = line.next_ones()
        if entries:
            line.under_way = len(entries)
            line.append(entries, lambda stored: self._decided(key, line, stored))
        elif not line.copies:
            del self._lines[key]

    def _decided(self, key: bytes, line: Line, stored: bool) -> None:  # noqa: FBT001
        if stored:
            for _ in range(line.under_way):
                line.copies.popleft().stored()
        line.alone, line.under_way = not stored, 0
        self._go_on(key)

    def __repr__(self) -> str:
        return f"<Lines {len(self)} copies of {len(self._lines)} keys>"
