"""How much lies in the log for each service, and how fast it drains: looked at twice a second."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple

from bufferproxy.clock import Clock
from bufferproxy.errors import LogError
from bufferproxy.log.contract import Lag, LogInspector
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Partition

EVERY = 0.5
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
    """One service's view of the log. `began` is called before each look, `told` after it."""

    def __init__(
        self,
        names: ServiceTopics,
        log: LogInspector,
        clock: Clock,
        began: Callable[[], None],
        told: Callable[[Measured], None],
        *,
        concurrency: int,
    ) -> None:
        self._concurrency = concurrency
        self._names = names
        self._log = log
        self._clock = clock
        self._began = began
        self._told = told
        self._lags: Mapping[Partition, Lag] = {}
        self._at = clock.now()
        self._drained = 0.0

    async def run(self) -> None:
        """Until cancelled. A log that does not answer leaves the last look standing."""
        while True:
            await self._clock.sleep(EVERY)
            try:
                await self.look()
            except LogError:
                continue

    async def look(self) -> None:
        names = self._names
        self._began()
        lags = await self._log.lag(names.group, names.open)
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
        self._told(self.measured())

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
        lags = [
            (partition, lag) for partition, lag in self._lags.items() if among is None or partition in among
        ]
        return Measured(
            sum(lag.records for _, lag in lags),
            sum(lag.records for partition, lag in lags if partition.topic == self._names.delayed),
            sum(lag.size for _, lag in lags),
            self._drained,
            {partition: lag.end for partition, lag in lags},
        )

    def __repr__(self) -> str:
        return f"<Survey {self._names.group} {self.measured()}>"
