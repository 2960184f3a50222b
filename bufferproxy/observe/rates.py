"""What went in and out lately, per second: the meters, sampled once a second for the last ten."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bufferproxy.clock import Clock
    from bufferproxy.observe.meters import Meters

SAMPLE_EVERY = 1.0
"""Seconds between two samples."""
WINDOW = 10.0


class Sample(NamedTuple):
    """Totals at a moment (monotonic seconds)."""

    at: float
    accepted: float
    delivered: float
    throttled: Mapping[str, float]


class Rates(NamedTuple):
    """Per second over the window. `throttled`: how much of it delivery was held back, by reason, the largest
    part first; reasons that did not hold anything back are left out."""

    accepted: float
    delivered: float
    throttled: Mapping[str, float]


NO_RATES = Rates(0.0, 0.0, {})


def between(old: Sample, new: Sample) -> Rates:
    seconds = new.at - old.at
    if seconds <= 0:
        return NO_RATES
    held = {
        reason: (total - old.throttled.get(reason, 0)) / seconds for reason, total in new.throttled.items()
    }
    return Rates(
        (new.accepted - old.accepted) / seconds,
        (new.delivered - old.delivered) / seconds,
        {reason: part for reason, part in sorted(held.items(), key=lambda item: -item[1]) if part > 0},
    )


class RecentRates:
    def __init__(self, meters: Meters, clock: Clock) -> None:
        self._meters = meters
        self._clock = clock
        self._samples: dict[str, list[Sample]] = {}
        self.sample()

    def sample(self) -> None:
        """Remember the totals of now; forget what is older than the window and services that are gone."""
        now = self._clock.now()
        kept = self._samples
        self._samples = {}
        for service in self._meters.services:
            samples = self._samples[service] = kept.get(service) or []
            sample = self._totals(service, now)
            if len(samples) > 1 and samples[-1][1:] == samples[-2][1:] == sample[1:]:
                samples.pop()  # nothing has happened: two samples tell as much as ten
            samples.append(sample)
            # The youngest sample that is at least a window old stays: rates reach back to it.
            while len(samples) > 1 and samples[1].at <= now - WINDOW:
                del samples[0]

    def rates(self, service: str) -> Rates:
        """Of the last ten seconds, or of as much of them as there was. Zero for an unknown service."""
        samples = self._samples.get(service)
        if not samples or service not in self._meters.services:
            return NO_RATES
        now, first = self._clock.now(), samples[0]
        if len(samples) > 1 and samples[1][1:] == first[1:]:
            # What was the same at both was the same in between, where samples were left out.
            first = first._replace(at=max(first.at, min(samples[1].at, now - WINDOW)))
        return between(first, self._totals(service, now))

    def _totals(self, service: str, now: float) -> Sample:
        meters = self._meters.services[service]
        return Sample(now, meters.accepted, meters.finished["delivered"], dict(meters.throttled))

    def __repr__(self) -> str:
        return f"<RecentRates of {len(self._samples)} services over {WINDOW:g} s>"
