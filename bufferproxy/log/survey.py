"""How much lies in the log for each service, and how fast it drains.

One look for all services of a process, twice a second: of those where something moves. The rest is looked at
now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from bufferproxy.clock import Clock
from bufferproxy.errors import LogError, LogUnavailable
from bufferproxy.log.contract import Lag, LogInspector
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Partition

EVERY = 0.5
"""Seconds between two looks at what moves, and ..."""
AT_REST_EVERY = 30.0
"""... at what does not. (Where other processes move it too, this one cannot know that it is at rest.)"""
HORIZON = 10.0
"""Seconds over which the drain rate is averaged."""


class Measured(NamedTuple):
    """`open`: records past the commit, `delayed` of them in the tiers; `size`: bytes of their bodies;
    `drained`: records per second that the commits moved on lately while deliveries were all busy, else 0;
    `ends`: the next offset of each partition, as it was then."""

    open: int = 0
    delayed: int = 0
    size: int = 0
    drained: float = 0.0
    ends: Mapping[Partition, int] = MappingProxyType({})


class Survey:
    """One service's view of the log. `began` is called before each look, `told` after it. `moved` returns
    something else whenever this process may have moved something."""

    def __init__(
        self,
        names: ServiceTopics,
        clock: Clock,
        began: Callable[[], None],
        told: Callable[[Measured], None],
        *,
        concurrency: int,
        moved: Callable[[], object] = object,
    ) -> None:
        self.names = names
        self.began = began
        self._concurrency = concurrency
        self._clock = clock
        self._told = told
        self._moved = moved
        self._seen: object = None
        self._lags: Mapping[Partition, Lag] = {}
        self._whole = Measured()
        """Of all partitions."""
        self._at = clock.now()
        self._drained = 0.0

    def due(self) -> bool:
        """Whether something may have moved since the last look, or should have."""
        if self._moved() != self._seen:
            return True
        return self._whole.open > self._whole.delayed or self._clock.now() - self._at >= AT_REST_EVERY

    def begin(self) -> None:
        """A look begins."""
        self._seen = self._moved()
        self.began()

    def take(self, lags: Mapping[Partition, Lag]) -> None:
        """What the look found, of all partitions of `names.open`."""
        now = self._clock.now()
        before, elapsed = self._lags, now - self._at
        if before and elapsed > 0:
            moved = sum(
                lag.committed - before[partition].committed
                for partition, lag in lags.items()
                if partition in before
            )
            self._drained = self._averaged(max(0, moved) / elapsed, elapsed, before, lags)
        self._lags, self._at = lags, now
        self._whole = self._measured(lags)
        self._told(self._whole)

    def _averaged(
        self, pace: float, elapsed: float, before: Mapping[Partition, Lag], now: Mapping[Partition, Lag]
    ) -> float:
        """What drains while more waits than can be in flight tells how fast it can drain; otherwise it only
        tells how little there was to do."""
        if any(sum(lag.records for lag in lags.values()) <= self._concurrency for lags in (before, now)):
            return 0.0
        if self._drained == 0.0:
            return pace
        return self._drained + min(1.0, elapsed / HORIZON) * (pace - self._drained)

    def measured(self, among: Collection[Partition] | None = None) -> Measured:
        """Of all partitions, or of those that a worker holds."""
        if among is None:
            return self._whole
        return self._measured(
            {partition: self._lags[partition] for partition in among if partition in self._lags}
        )

    def _measured(self, lags: Mapping[Partition, Lag]) -> Measured:
        delayed = self.names.delayed
        return Measured(
            sum(lag.records for lag in lags.values()),
            sum(lag.records for partition, lag in lags.items() if partition.topic == delayed),
            sum(lag.size for lag in lags.values()),
            self._drained,
            {partition: lag.end for partition, lag in lags.items()},
        )

    def __repr__(self) -> str:
        return f"<Survey {self.names.group} {self.measured()}>"


class Surveyor:
    """Looks at the log for the surveys of all services."""

    def __init__(self, log: LogInspector, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self.surveys: list[Survey] = []

    async def run(self) -> None:
        """Until cancelled. A log that does not answer leaves the last look standing."""
        while True:
            await self._clock.sleep(EVERY)
            due = [survey for survey in self.surveys if survey.due()]
            if due:
                try:
                    await self.look(due)
                except LogError:
                    continue

    async def look(self, surveys: Sequence[Survey] | None = None) -> None:
        """At these, or at all. Raises LogUnavailable when the log could not tell of all of them."""
        wanted = self.surveys if surveys is None else surveys
        for survey in wanted:
            survey.begin()
        found = await self._log.lags({survey.names.group: survey.names.open for survey in wanted})
        for survey in wanted:
            if survey.names.group in found:
                survey.take(found[survey.names.group])
        if len(found) < len(wanted):
            unknown = [survey.names.group for survey in wanted if survey.names.group not in found]
            raise LogUnavailable(f"how much waits is not known of {', '.join(unknown)}")

    def __repr__(self) -> str:
        return f"<Surveyor of {len(self.surveys)} services>"
