"""What happened in one run, in the manner of Jepsen, and all that is wrong with it. Pure.

Callers tell what was accepted, the service what was attempted, the log what ended, and the test which faults
there were. Each check returns complaints that name ids and times (seconds since the epoch), and none when its
promise was kept. C7 to C9 look at samples taken beside it: `samples.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Literal, NamedTuple

from bufferproxy.ids import parse_id
from bufferproxy.testing.promises import Arrival, as_told, beyond_ceiling, digest_of, same_id
from bufferproxy.testing.samples import Sample, went_back

if TYPE_CHECKING:
    from bufferproxy.testing.load import Told

Outcome = Literal["ok", "fail", "unknown"]
"""Of an acceptance: stored, certainly not stored, or nobody knows."""

WINDOWS = (0.1, 1.0, 5.0, 60.0)
"""Seconds over which the rate is judged."""
ENDED = frozenset({"delivered", "rejected", "dead", "expired", "cancelled"})
UNSENT = frozenset({"dead", "expired", "cancelled"})
"""Ends that a request may reach without an attempt."""
SHOWN = 5
"""Complaints of one kind that are written out; the others are counted."""


class Accept(NamedTuple):
    """What a caller was told. `id` is empty unless `ok`."""

    id: str
    key: str
    outcome: Outcome
    target: str
    digest: str
    at: float


class End(NamedTuple):
    id: str
    state: str
    at: float


class Fault(NamedTuple):
    """`at` to `healed`: from just before it until the product was whole again. It may repeat `repeats`
    attempts, and only those made from `reach` seconds before it until it was healed, or `lasts` seconds
    longer where it leaves a request in the log twice. `frozen`: so many workers may have been stopped between
    their check and their write."""

    what: str
    at: float
    healed: float
    repeats: int = 0
    reach: float = inf
    lasts: float = 0.0
    frozen: int = 0

    def explains(self, first: Arrival) -> bool:
        return self.at - self.reach <= first.at <= self.healed + self.lasts


@dataclass(frozen=True)
class History:
    accepts: Sequence[Accept]
    attempts: Sequence[Arrival]
    ends: Sequence[End] = ()
    faults: Sequence[Fault] = ()
    offsets: Sequence[Sample] = field(default=())

    @property
    def stored(self) -> list[Accept]:
        return [accept for accept in self.accepts if accept.outcome == "ok"]

    def complaints(self, *, rate: float = inf, burst: int = 1, keyed: bool = False) -> list[str]:
        """All that no fault of this history excuses. `rate` per second; `keyed`: order was promised. Ends and
        offsets are judged when they were collected."""
        found = [
            *_shown("C1", lost(self)),
            *_shown("C2", invented(self)),
            *_shown("C3", repeated(self)),
            *_shown("C5", too_fast(self, rate=rate, burst=burst)),
            *_shown("C8", went_back(self.offsets)),
        ]
        if keyed:
            found += _shown("C4", out_of_order(self))
        if self.ends:
            found += _shown("C6", not_one_end(self))
        return found


def accepts_of(told: Iterable[Told], ahead: float) -> list[Accept]:
    """`ahead`: seconds by which the time of day is ahead of the callers' clock."""
    return [
        Accept(
            one.id,
            one.sent.key.decode(),
            outcome_of(one),
            one.sent.target.decode(),
            digest_of(one.sent.body),
            one.at + ahead,
        )
        for one in told
    ]


def outcome_of(told: Told) -> Outcome:
    if told.id:
        return "ok"
    if told.failure is not None:
        return "unknown" if told.failure.sent else "fail"
    return "unknown" if b"outcome-unknown" in told.body or told.status < 400 else "fail"


def lost(history: History) -> list[str]:
    """C1: what was accepted was attempted, unless it ended in a way that needs no attempt."""
    seen = {attempt.id for attempt in history.attempts}
    seen |= {end.id for end in history.ends if end.state in UNSENT}
    return [
        f"{accept.id} ({accept.target}) was accepted at {accept.at:.3f} and never arrived"
        for accept in history.stored
        if accept.id not in seen
    ]


def invented(history: History) -> list[str]:
    """C2: what arrived was sent, as it was sent, under the id that its caller was told, and was not refused.
    For histories in which no target was sent twice."""
    sent = {accept.target: accept for accept in history.accepts}
    complaints = []
    for attempt in history.attempts:
        accept = sent.get(attempt.target)
        if accept is None:
            complaints.append(f"{attempt.id} ({attempt.target}) arrived at {attempt.at:.3f}: nobody sent it")
        elif accept.outcome == "fail":
            complaints.append(
                f"{attempt.id} ({attempt.target}) was refused at {accept.at:.3f},"
                f" and arrived at {attempt.at:.3f}"
            )
        elif accept.digest != attempt.digest:
            complaints.append(f"{attempt.id} ({attempt.target}) arrived changed at {attempt.at:.3f}")
    told = ((accept.target, accept.id) for accept in history.stored)
    return [*complaints, *same_id(history.attempts), *as_told(told, history.attempts)]


def repeats(attempts: Iterable[Arrival]) -> list[tuple[Arrival, Arrival]]:
    """Arrivals that were there before, as the same attempt of the same id: (the one before, this one)."""
    last: dict[tuple[str, int], Arrival] = {}
    found = []
    for attempt in sorted(attempts):
        before = last.get((attempt.id, attempt.attempt))
        if before is not None:
            found.append((before, attempt))
        last[attempt.id, attempt.attempt] = attempt
    return found


def repeated(history: History) -> list[str]:
    """C3: a repeat has a fault that explains it, and there are no more of them than the faults allow."""
    found = repeats(history.attempts)
    complaints = [
        f"{again.id} arrived at {before.at:.3f} and {again.at:.3f} as attempt {again.attempt}:"
        " no fault was near"
        for before, again in found
        if not any(fault.explains(before) for fault in history.faults)
    ]
    allowed = sum(fault.repeats for fault in history.faults)
    if len(found) > allowed:
        examples = ", ".join(f"{again.id} at {again.at:.3f}" for _, again in found[:SHOWN])
        complaints.append(f"{len(found)} repeats, {len(history.faults)} faults explain {allowed}: {examples}")
    return complaints


def out_of_order(history: History) -> list[str]:
    """C4: within a key, first attempts come in the order of the log, and a key goes back to what has had
    its turn only once for each fault."""
    rank = {accept.id: _place(accept.id) for accept in history.stored if accept.key}
    complaints = []
    for key, attempts in _by_key(history.attempts).items():
        unused = sorted(history.faults, key=lambda fault: fault.at)
        before = attempts[0]
        for attempt in attempts[1:]:
            if attempt.id not in rank or before.id not in rank:
                continue
            if rank[attempt.id] < rank[before.id]:
                excuse = next((fault for fault in unused if fault.at <= attempt.at), None)
                if excuse is None:
                    complaints.append(
                        f"key {key}: {attempt.id} arrived at {attempt.at:.3f} after {before.id},"
                        f" which was accepted later and arrived at {before.at:.3f}"
                    )
                else:
                    unused.remove(excuse)
            before = attempt
    return complaints + _first_out_of_order(history, rank)


def _first_out_of_order(history: History, rank: dict[str, tuple[int, int]]) -> list[str]:
    complaints = []
    for key, attempts in _by_key(history.attempts).items():
        seen: set[str] = set()
        last: Arrival | None = None
        for attempt in attempts:
            if attempt.id in seen or attempt.id not in rank:
                continue
            seen.add(attempt.id)
            if last is not None and rank[attempt.id] < rank[last.id]:
                complaints.append(
                    f"key {key}: {attempt.id} arrived first at {attempt.at:.3f}, after {last.id} at"
                    f" {last.at:.3f}, which was accepted later"
                )
            else:
                last = attempt
    return complaints


def _place(id_: str) -> tuple[int, int]:
    """Where it was accepted: the order of a key is that of the log."""
    identity = parse_id(id_)
    if identity is None:
        raise ValueError(f"{id_} is no id")
    return identity.partition, identity.offset


def _by_key(attempts: Iterable[Arrival]) -> dict[str, list[Arrival]]:
    keys: dict[str, list[Arrival]] = defaultdict(list)
    for attempt in sorted(attempts):
        if attempt.key:
            keys[attempt.key].append(attempt)
    return keys


def too_fast(history: History, *, rate: float, burst: int) -> list[str]:
    """C5: `rate * (W + 10 ms) + burst` in every window, and one more, once, for each frozen worker."""
    if rate == inf:
        return []
    times = [attempt.at for attempt in history.attempts]
    frozen = sum(fault.frozen for fault in history.faults)
    complaints = []
    for window in WINDOWS:
        beyond = beyond_ceiling(times, rate=rate, burst=burst, window=window)
        if len(beyond) > frozen:
            when = ", ".join(f"{at:.3f}" for at in beyond[:SHOWN])
            complaints.append(
                f"{len(beyond)} arrivals more than windows of {window:g} s allow"
                f" ({frozen} for frozen workers): at {when}"
            )
    return complaints


def not_one_end(history: History) -> list[str]:
    """C6: each accepted request has exactly one end; what was never accepted has none that a caller knows."""
    ends: dict[str, list[End]] = defaultdict(list)
    for end in history.ends:
        if end.state in ENDED:
            ends[end.id].append(end)
    complaints = []
    for accept in history.stored:
        found = ends.get(accept.id, [])
        states = sorted({end.state for end in found})
        if not states:
            complaints.append(f"{accept.id} was accepted at {accept.at:.3f} and has no end")
        elif len(states) > 1:
            told = ", ".join(f"{end.state} at {end.at:.3f}" for end in found)
            complaints.append(f"{accept.id} ended more than once: {told}")
    return complaints


def _shown(check: str, complaints: Sequence[str]) -> list[str]:
    more = len(complaints) - SHOWN
    rest = [f"and {more} more"] if more > 0 else []
    return [f"{check}: {complaint}" for complaint in chain(complaints[:SHOWN], rest)]
