"""What the end of the log tells somebody who begins to read there: whether anybody may still act on a share
that was granted before. Pure.

Without such proof a fresh leader must wait until the longest share has run out (decision 0008). It is proved
when nothing was ever said, and when the last word is that of a worker that knew itself to be alone: a clean
stop of the last one.
"""

from __future__ import annotations

from collections.abc import Sequence

from bufferproxy.rate.records import Claim, Grant, Read, Release, Report

LOOK_BACK = 64
"""Records: as many as a worker that stops says, and reads of itself, at its end, and more."""


def nothing_lasts(last: Sequence[tuple[int, Read]]) -> bool:
    """`last`: the last records of the log, with their offsets, in order and without a gap."""
    if not last:
        return False
    _, word = last[-1]
    if not isinstance(word, Release) or word.in_flight or word.alone_since is None:
        return False
    if word.alone_since < last[0][0] - 1:
        return False  # somebody may have come in what lies between
    return all(_is_of(word.worker, said) for offset, said in last if offset > word.alone_since)


def _is_of(worker: str, said: Read) -> bool:
    """It is said by `worker`, or gives nobody else anything."""
    match said:
        case Claim() | Report() | Release():
            return said.worker == worker
        case Grant(_, _, services):
            return all(terms.shares.keys() <= {worker} for terms in services.values())
        case _:
            return False
