"""Whether a reader is stuck: decided from looks at it, without any I/O. `watchdog.py` looks and acts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bufferproxy.records import Partition

EVERY = 2.5
"""Seconds between two looks."""
STUCK = 10.0
"""Seconds that a record may lie before a reader that waits for it."""
JOINING = 60.0
"""Seconds that joining the group may take. A rebalance waits up to 45 s for a member that does not answer."""
FENCED = 5.0
"""Seconds that a member may go without heartbeats while it takes itself for one: a join begins like that."""


class Seen(NamedTuple):
    """What a look at a reader shows."""

    stable: bool
    """It takes itself for a member of its group."""
    beating: bool
    """It sends heartbeats; otherwise the group goes on without it."""
    served: bool
    """Whatever it fetched was taken."""
    reading: Mapping[Partition, int]
    """Of what it holds and has not paused: the next offset to be fetched."""


class Watch:
    """One reader's looks. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._looked: float | None = None
        self._since: dict[object, float] = {}
        """What is wrong (a partition misses an offset, a membership) -> since when."""

    def look(self, now: float, seen: Seen, ends: Mapping[Partition, int]) -> str | None:
        """What is wrong; None: nothing, or not for long enough. `ends`: the next offset to be written."""
        if self._looked is None or now - self._looked > 3 * EVERY:
            # Suspended, or no broker answered for a while: what was seen before is no proof any more.
            self._since.clear()
        self._looked = now
        found = _found(seen, ends)
        self._since = {each: self._since.get(each, now) for each in found}
        for each, (patience, said) in found.items():
            lasted = now - self._since[each]
            if lasted >= patience:
                return f"{said}, for {lasted:.0f} s"
        return None


def _found(seen: Seen, ends: Mapping[Partition, int]) -> dict[object, tuple[float, str]]:
    """What would be wrong if it lasted -> for how many seconds, and how to say it."""
    if not seen.stable:
        return {"joining": (JOINING, "it has not joined its group")}
    if not seen.beating:
        return {"fenced": (FENCED, "its group goes on without it: `worker.id` must be its own")}
    if not seen.served:
        return {}
    return {
        (partition, offset): (STUCK, f"nothing came of {ends[partition] - offset} records of {partition}")
        for partition, offset in seen.reading.items()
        if offset < ends.get(partition, 0)
    }
