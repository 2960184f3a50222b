"""The promises as checkers over what callers were told and what the service saw. Pure.

After Jepsen: a history of acceptances and of arrivals, and checks that name what is wrong. Each returns a list
of complaints, empty when the promise was kept.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

JITTER = 0.010
"""Seconds by which an arrival may be seen early or late (P3)."""


class Arrival(NamedTuple):
    """An attempt as the service saw it. `at` is when its first byte was read, in seconds."""

    at: float
    id: str
    attempt: int
    target: str
    digest: str
    key: str


def nothing_lost(accepted: Iterable[str], arrivals: Iterable[Arrival]) -> list[str]:
    """C1: every id that was accepted was delivered."""
    seen = {arrival.id for arrival in arrivals}
    return [f"{id_} was accepted and never arrived" for id_ in accepted if id_ not in seen]


def nothing_invented(possible: Iterable[str], arrivals: Iterable[Arrival]) -> list[str]:
    """C2: what arrived was sent by somebody; `possible` are the targets that callers used."""
    known = set(possible)
    return [
        f"{arrival.target} arrived, and nobody sent it" for arrival in arrivals if arrival.target not in known
    ]


def duplicates(arrivals: Iterable[Arrival]) -> int:
    """C3: how many arrivals there were beyond one for each id."""
    return sum(count - 1 for count in Counter(arrival.id for arrival in arrivals).values())


def key_order(sent: Sequence[tuple[str, str]], arrivals: Iterable[Arrival]) -> list[str]:
    """C4: first arrivals of one key come in the order accepted. `sent`: (key, id) in that order."""
    rank = {id_: n for n, (_, id_) in enumerate(sent)}
    last: dict[str, tuple[int, str]] = {}
    complaints = []
    seen: set[str] = set()
    for arrival in sorted(arrivals):
        if arrival.id in seen or arrival.id not in rank:
            continue
        seen.add(arrival.id)
        before, id_ = last.get(arrival.key, (-1, ""))
        if rank[arrival.id] < before:
            complaints.append(
                f"key {arrival.key}: {arrival.id} arrived after {id_}, which was accepted later"
            )
        last[arrival.key] = max((before, id_), (rank[arrival.id], arrival.id))
    return complaints


def over_ceiling(
    times: Iterable[float], *, rate: float, burst: int, window: float, jitter: float = JITTER
) -> list[str]:
    """C5: windows of `window` seconds with more than `rate * (window + jitter) + burst` arrivals. A window
    that begins at an arrival is the worst of all that contain the same ones, so only those are looked at."""
    stamps = sorted(times)
    allowed = int(rate * (window + jitter) + burst + 1e-9)
    complaints = []
    for first, start in enumerate(stamps):
        count = bisect_left(stamps, start + window, first) - first
        if count > allowed:
            complaints.append(f"{count} arrivals in {window:g} s from {start:.3f}, {allowed} are allowed")
    return complaints


def used(times: Iterable[float], rate: float) -> float:
    """Share of the ceiling that was used between the first and the last arrival."""
    stamps = sorted(times)
    if len(stamps) < 2:
        return 0.0
    return (len(stamps) - 1) / (stamps[-1] - stamps[0]) / rate


def one_end(ends: Iterable[tuple[str, str]]) -> list[str]:
    """C6: each id has one end. `ends`: (id, state)."""
    states: dict[str, set[str]] = defaultdict(set)
    for id_, state in ends:
        states[id_].add(state)
    return [f"{id_} ended as {sorted(found)}" for id_, found in states.items() if len(found) > 1]
