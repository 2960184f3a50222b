"""What the view remembers of an id. A local file, rebuildable: losing it costs a replay of `.results` and
`.states`, nothing else; therefore it is not synced.

Of an end in `.results` only where it lies: the record says all the rest, and is read when somebody asks. Of
what `.states` tells (few records: what stayed open longer) a row per id.
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


class Ends(NamedTuple):
    """Records of one partition of `.results`: the key and the offset of each, in their order. None of them
    was decided later than `newest` (ms)."""

    partition: Partition
    keys: Sequence[bytes]
    offsets: Sequence[int]
    newest: int


class Found(NamedTuple):
    """`row`: what `.states` told. `ends`: where the end may lie, the newest first. A position is a hint: who
    reads there compares the key."""

    row: Row | None
    ends: Sequence[Position]


class Index(Protocol):
    """A `find` sees every `put` before it."""

    async def offsets(self) -> Mapping[Partition, int]:
        """How far each partition was read when the file was last written."""
        ...

    def put(self, rows: Sequence[Row], ends: Sequence[Ends], offsets: Mapping[Partition, int]) -> None:
        """Remember what was read, and how far: in one transaction, and in the order of the calls. `offsets`
        names the partitions of `ends` too. A step never replaces an end."""
        ...

    async def find(self, id_: str) -> Found:
        """Raises LogUnavailable, or LogUnusable for a file that was damaged meanwhile."""
        ...

    async def forget(self, ended_before: int) -> None:
        """Forget ends older than `ended_before` (ms). Some may stay longer, along with younger ones."""
        ...

    async def close(self) -> None: ...


def standing(older: Row | None, newer: Row) -> Row:
    """Which of two tellings of `.states` holds."""
    if older is not None and older.state.ended and not newer.state.ended:
        return older
    return newer


def settled(row: Row | None, end: Row) -> Row:
    """What holds when `.states` and `.results` both tell of an id.

    1. A step in `.states`: the end came after it.
    2. An end there without an error only points to the one in `.results`.
    3. An end there with an error is one without an answer (dead, expired, cancelled). It can follow an
       answered end when a crash had the request sent again, or a redrive: then the later one holds.
    """
    if row is None or not row.state.ended or row.error is None or row.at <= end.at:
        return end
    return row
