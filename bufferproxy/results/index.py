"""What the view remembers: id -> where it stands, and where the answer lies. A local file, rebuildable.

Bodies stay in the log. Ids of one partition sort by acceptance, so the table grows at its end. Losing the
file costs a replay of `.results` and `.states`, nothing else; therefore it is not synced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from bufferproxy.records import Partition, Position, State


class Row(NamedTuple):
    """`reply`: where the record with the answer lies, None without one. Times in ms since the epoch."""

    id: str
    state: State
    at: int
    accepted_at: int
    attempts: int
    reply: Position | None
    error: str | None
    due_at: int | None
    expires_at: int | None


class Index(Protocol):
    """Calls are carried out in the order they were made: a `find` sees every `put` before it."""

    async def offsets(self) -> Mapping[Partition, int]:
        """How far each partition was read when the file was last written."""
        ...

    def put(self, rows: Sequence[Row], offsets: Mapping[Partition, int]) -> None:
        """Remember rows and how far was read, in one transaction. An end is never replaced by a step; told
        twice, in `.results` and in `.states`, it keeps the reply and the error that either of them named."""
        ...

    async def find(self, id_: str) -> Row | None: ...

    async def forget(self, ended_before: int) -> None:
        """Forget ends older than `ended_before` (ms)."""
        ...

    async def close(self) -> None: ...
