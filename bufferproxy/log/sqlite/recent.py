"""Records that were just stored, for a reader that has read everything before: it need not ask the file.

A service without backlog, and the view of its results, always read at the end. Reading there costs a query
and a change of threads for a handful of records that were in memory a moment ago.
"""

from __future__ import annotations

from collections.abc import Sequence

from bufferproxy.records import Record

MOST = 2048
"""Records, and ..."""
MOST_BYTES = 256 << 10
"""... bytes of values that are kept for a reader who does not come. Then it has fallen behind, and reads the
file again until it has caught up."""


class Recent:
    """Of one partition. `follow(end)` when somebody has read up to the end; from then on what is added can be
    taken, once."""

    __slots__ = ("_records", "_size", "followed")

    def __init__(self) -> None:
        self.followed = False
        self._records: list[Record] = []
        self._size = 0

    def follow(self) -> None:
        """Everything up to now was read."""
        self.followed = True
        self._records = []
        self._size = 0

    def lose(self) -> None:
        self.followed = False
        self._records = []
        self._size = 0

    def add(self, records: Sequence[Record]) -> None:
        if not self.followed:
            return
        self._records.extend(records)
        self._size += sum([len(record.value) for record in records])
        if len(self._records) > MOST or self._size > MOST_BYTES:
            self.lose()

    def take(self, offset: int, limit: int) -> Sequence[Record] | None:
        """From `offset` on, up to `limit`; None when the file must be asked."""
        records = self._records
        if not self.followed or not records or records[0].offset != offset:
            return None
        if len(records) <= limit:
            self.follow()
            return records
        taken, self._records = records[:limit], records[limit:]
        self._size -= sum([len(record.value) for record in taken])
        return taken

    def __repr__(self) -> str:
        return f"<Recent {len(self._records)} records, {'followed' if self.followed else 'not followed'}>"
