"""The promises as checkers over what callers were told and what the service saw. Pure.

After Jepsen: a history of acceptances and of arrivals, and checks that name what is wrong. Each returns a
list of complaints, empty when the promise was kept.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

JITTER = 0.010
"""Seconds by which an arrival may be seen early or late (P3)."""


TICK = 0.002
"""Seconds by which a timer of the service may ring early."""


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


def same_id(arrivals: Iterable[Arrival]) -> list[str]:
    """P9: a repeated request has the id it had before. For histories in which no target was sent twice."""
    ids: dict[str, set[str]] = defaultdict(set)
    for arrival in arrivals:
        ids[arrival.target].add(arrival.id)
    return [f"{target} arrived as {sorted(found)}" for target, found in ids.items() if len(found) > 1]


def as_told(told: Iterable[tuple[str, str]], arrivals: Iterable[Arrival]) -> list[str]:
    """P9: what arrived has the id that its caller was given. `told`: (target, id), no target twice."""
    given = dict(told)
    return [
        f"{arrival.target} was accepted as {given[arrival.target]} and arrived as {arrival.id}"
        for arrival in arrivals
        if given.get(arrival.target, arrival.id) != arrival.id
    ]


def unchanged(sent: Iterable[tuple[str, bytes]], arrivals: Iterable[Arrival]) -> list[str]:
    """P7: bodies arrive as sent. `sent`: (target, body), no target twice."""
    digests = {target: digest_of(body) for target, body in sent}
    return [
        f"the body of {arrival.target} arrived changed"
        for arrival in arrivals
        if digests.get(arrival.target, arrival.digest) != arrival.digest
    ]


def digest_of(body: bytes) -> str:
    """How an `Arrival` tells of a body."""
    return hashlib.sha256(body).hexdigest()[:16]


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


def beyond_ceiling(
    times: Iterable[float], *, rate: float, burst: int, window: float, jitter: float = JITTER
) -> list[float]:
    """C5: the fewest arrivals without which no window of `window` seconds had more than `over_ceiling`
    allows, the latest of each crowded window: whoever leaves last is in most of the windows that follow."""
    allowed = int(rate * (window + jitter) + burst + 1e-9)
    kept: deque[float] = deque()
    beyond = []
    for at in sorted(times):
        while kept and kept[0] <= at - window:
            kept.popleft()
        if len(kept) < allowed:
            kept.append(at)
        else:
            beyond.append(at)
    return beyond


def fullest(times: Iterable[float], window: float) -> int:
    """The most arrivals in any window of so many seconds."""
    stamps = sorted(times)
    return max((bisect_left(stamps, at + window, n) - n for n, at in enumerate(stamps)), default=0)


def one_at_a_time(arrivals: Iterable[Arrival], seconds: float) -> list[str]:
    """C4, for a service that takes `seconds` for each request: no two of one key under way at once."""
    last: dict[str, Arrival] = {}
    complaints = []
    for arrival in sorted(arrivals):
        before = last.get(arrival.key)
        if before is not None and arrival.at < before.at + seconds - TICK:
            complaints.append(
                f"key {arrival.key}: {arrival.id} arrived {arrival.at - before.at:.3f} s after {before.id}"
            )
        last[arrival.key] = arrival
    return complaints


def used(times: Iterable[float], rate: float) -> float:
    """Share of the ceiling that was used between the first and the last arrival."""
    stamps = sorted(times)
    if len(stamps) < 2:
        return 0.0
    return (len(stamps) - 1) / (stamps[-1] - stamps[0]) / rate


def used_when_quiet(
    times: Iterable[float], rate: float, stalls: Iterable[tuple[float, float]]
) -> tuple[float, int]:
    """Share of the ceiling used in those whole seconds in which the machine let its processes run, and how
    many there were. `stalls`: (when, seconds) of a process beside, which has next to nothing to do."""
    stamps = sorted(times)
    first, last = int(stamps[0]) + 1, int(stamps[-1])
    noisy = {int(moment) for at, seconds in stalls for moment in (at, at + seconds)}
    quiet = [second for second in range(first, last) if second not in noisy]
    count = sum(bisect_left(stamps, second + 1) - bisect_left(stamps, second) for second in quiet)
    return (count / len(quiet) / rate if quiet else 0.0), len(quiet)


def one_end(ends: Iterable[tuple[str, str]]) -> list[str]:
    """C6: each id has one end. `ends`: (id, state)."""
    states: dict[str, set[str]] = defaultdict(set)
    for id_, state in ends:
        states[id_].add(state)
    return [f"{id_} ended as {sorted(found)}" for id_, found in states.items() if len(found) > 1]
