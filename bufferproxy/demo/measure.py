"""What a run comes to. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from bufferproxy.demo.scenario import Scenario
from bufferproxy.demo.spike import Fate
from bufferproxy.demo.tally import Tally

SHORTEST = 0.1
JITTER = 0.01


class Summary(NamedTuple):
    """Times in seconds, None when there is nothing to take them of. `slowest`: the service's worst answer,
    from the arrival there. `longest`: the longest that a caller waited, for whatever it got. `last`: from the
    start to the last request served. `peak`: most arrivals at the service within any second, `burst` within
    any tenth of one."""

    sent: int
    served: int
    failures: dict[Fate, int]
    slowest: float | None
    longest: float | None
    last: float | None
    peak: int
    burst: int

    @property
    def failed(self) -> int:
        return self.sent - self.served


def summary(tally: Tally) -> Summary:
    failures = Counter(call.fate for call in tally.calls)
    return Summary(
        sent=len(tally.sent),
        served=len(tally.served),
        failures={fate: failures[fate] for fate in Fate if fate not in _NO_FAILURE and failures[fate]},
        slowest=max((ending.seconds for ending in tally.ended), default=None),
        longest=max((call.ended_at - call.due_at for call in tally.calls), default=None),
        last=max(tally.served) - tally.began if tally.served else None,
        peak=busiest(tally.arrived, 1.0),
        burst=busiest(tally.arrived, SHORTEST),
    )


_NO_FAILURE = {Fate.SERVED, Fate.ACCEPTED}


def busiest(times: Sequence[float], window: float) -> int:
    """Most of `times` in any window that long, wherever it begins."""
    ordered = sorted(times)
    return max(
        (bisect_right(ordered, start + window) - index for index, start in enumerate(ordered)), default=0
    )


def per_second(times: Sequence[float], began: float, width: float) -> list[float]:
    """Rates in bins of `width` seconds from `began` on, up to the bin of the last one."""
    counts = Counter(max(0, int((at - began) / width)) for at in times)
    return [counts[index] / width for index in range(max(counts, default=-1) + 1)]


class Window(NamedTuple):
    """From the `first` to the `last` arrival, counted in the order of time; it has `over` more arrivals than
    are allowed there (below 0: fewer)."""

    over: float
    first: int
    last: int


def tightest(times: Sequence[float], rate: float, burst: int) -> Window:
    """The worst of all windows of W >= 0.1 s, where `rate * (W + 10 ms) + burst` arrivals are allowed.

    With g(k) = k - rate * t(k), the window from i to j holds j - i + 1 and may hold rate * (t(j) - t(i)) and
    a constant: the worst one that ends in j begins where g is least. Those shorter than 0.1 s count as that.
    """
    ordered = sorted(times)
    allowed = rate * JITTER + burst
    worst, least, start, behind = Window(-math.inf, 0, 0), math.inf, 0, 0
    for j, at in enumerate(ordered):
        while ordered[behind] < at - SHORTEST:
            if behind - rate * ordered[behind] < least:
                least, start = behind - rate * ordered[behind], behind
            behind += 1
        short = (j - behind + 1) - rate * SHORTEST - allowed
        long = (j - rate * at) - least + 1 - allowed
        worst = max(worst, Window(short, behind, j), Window(long, start, j), key=lambda window: window.over)
    return worst


def excess(times: Sequence[float], rate: float, burst: int) -> float:
    """How far the ceiling was exceeded, in arrivals; not above 0: it was kept.

    As the promise has it, a process frozen between its check and the write may add one attempt, once: the one
    it held in hand, which then comes together with those after it. So one window may begin with such a one.
    """
    worst = tightest(times, rate, burst)
    if worst.over <= 0:
        return worst.over
    ordered = sorted(times)
    return tightest([*ordered[: worst.first], *ordered[worst.first + 1 :]], rate, burst).over


def verdict(scenario: Scenario, buffered: Tally) -> list[str]:
    """What was not as promised through bufferproxy, a sentence each. Empty: all of it was."""
    wrong = []
    sent, served = len(buffered.sent), len(buffered.served)
    if sent < scenario.requests:
        wrong.append(f"Only {sent} of {scenario.requests} requests were sent.")
    if served < sent:
        wrong.append(f"{sent - served} of {sent} requests were not served.")
    standing = buffered.standing
    if standing is None or standing.delivered < sent or standing.backlog:
        wrong.append(f"The proxy says: {standing or 'nothing'}.")
    over = excess(buffered.arrived, scenario.ceiling, burst=1)
    if over > 0:
        wrong.append(
            f"The ceiling of {scenario.ceiling}/s was not kept: {over:.1f} arrivals too many in one window."
        )
    return wrong


def kept(scenario: Scenario, buffered: Tally) -> str:
    """The sentence for a run with which nothing was wrong, with what there is to say against it."""
    said = (
        "Through bufferproxy every request was served, and in no window of 0.1 s or longer did more arrive at"
        f" the service than {scenario.ceiling}/s allows."
    )
    if tightest(buffered.arrived, scenario.ceiling, burst=1).over > 0:
        said += " Once, one came together with the next: the machine stood still while it was being sent."
    if not buffered.kernel:
        said += " This system's kernel does not stamp arrivals: the service noted them when it read them."
    return said
