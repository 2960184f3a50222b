"""What the view has read and the file of the index does not hold yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bufferproxy.records import Partition
from bufferproxy.results.index import Row, standing
from bufferproxy.results.segments import Segment, pack, spots_of


class Packed(NamedTuple):
    """Ready to be written, in one transaction."""

    rows: Mapping[str, Row]
    segment: Segment | None
    offsets: Mapping[Partition, int]

    def row(self, id_: str) -> Row | None:
        return self.rows.get(id_)

    def spots(self, key: bytes) -> list[int]:
        return [] if self.segment is None else spots_of(key, self.segment.tokens, self.segment.spots)


class Unwritten:
    """Gathers until it is packed. Per end: two items of two lists."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._keys: list[bytes] = []
        self._spots: list[int] = []
        self._newest = 0
        self._offsets: dict[Partition, int] = {}
        self._known: set[bytes] = set()
        self._looked_at = 0

    def add_row(self, row: Row) -> None:
        self._rows[row.id] = standing(self._rows.get(row.id), row)

    def add_ends(self, keys: Iterable[bytes], spots: Iterable[int], newest: int) -> None:
        self._keys.extend(keys)
        self._spots.extend(spots)
        self._newest = max(self._newest, newest)

    def reach(self, offsets: Mapping[Partition, int]) -> None:
        self._offsets.update(offsets)

    def row(self, id_: str) -> Row | None:
        return self._rows.get(id_)

    def spots(self, key: bytes) -> list[int]:
        # A set is made only when somebody asks, and only of what came since the last one who did.
        if self._looked_at < len(self._keys):
            self._known.update(self._keys[self._looked_at :])
            self._looked_at = len(self._keys)
        if key not in self._known:
            return []
        return [spot for known, spot in zip(self._keys, self._spots, strict=True) if known == key]

    def pack(self) -> Packed:
        segment = pack(self._keys, self._spots, self._newest) if self._keys else None
        return Packed(self._rows, segment, self._offsets)

    @property
    def empty(self) -> bool:
        return not self._offsets

    def __len__(self) -> int:
        return len(self._keys) + len(self._rows)

    def __repr__(self) -> str:
        return f"<Unwritten {len(self._keys)} ends, {len(self._rows)} rows>"
