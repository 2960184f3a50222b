"""Checks over what was measured now and then, or written down whenever it changed. Pure. See `history.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Sample(NamedTuple):
    """`of`: a process, a partition, whatever has a value that changes over time."""

    at: float
    of: str
    value: float


def too_large(memory: Iterable[Sample], limit: float) -> list[str]:
    """C7: no process held more than `limit` bytes at any time."""
    return [
        f"{sample.of} held {sample.value:.0f} bytes at {sample.at:.3f}, {limit:.0f} are allowed"
        for sample in memory
        if sample.value > limit
    ]


def went_back(offsets: Iterable[Sample]) -> list[str]:
    """C8: committed offsets only rise. The samples of one partition come in the order they were written."""
    highest: dict[str, Sample] = {}
    complaints = []
    for sample in offsets:
        before = highest.get(sample.of)
        if before is not None and sample.value < before.value:
            complaints.append(
                f"{sample.of} was committed to {before.value:.0f} at {before.at:.3f},"
                f" and to {sample.value:.0f} at {sample.at:.3f}"
            )
        if before is None or sample.value >= before.value:
            highest[sample.of] = sample
    return complaints


def does_not_drain(backlog: Sequence[Sample], *, healed: float, within: float) -> list[str]:
    """C9: from `healed` on the backlog falls to nothing `within` seconds."""
    after = [sample for sample in backlog if sample.at >= healed]
    if not after:
        return [f"nobody looked at the backlog after {healed:.3f}"]
    empty = next((sample for sample in after if sample.value == 0), None)
    if empty is None:
        last = after[-1]
        return [f"{last.value:.0f} are still open at {last.at:.3f}, {last.at - healed:.1f} s after it healed"]
    if empty.at > healed + within:
        return [
            f"empty at {empty.at:.3f}, {empty.at - healed:.1f} s after it healed; {within:g} s are allowed"
        ]
    return []
