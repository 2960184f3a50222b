"""How much lies in the log for each service, how fast it drains, and what has surely ended.

One look for all services of a process, twice a second: of those where something moves, or of which somebody
wants to know. The rest is looked at now and then. Nobody else measures, nor makes a look come sooner.
"""

from __future__ import annotations

import asyncio
import contextlib
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
PATIENCE = 5.0
"""Seconds that somebody waits for the next look to be over."""


class Measured(NamedTuple):
    """`open`: records past the commit, `delayed` of them in the tiers; `size`: bytes of their bodies;
    `drained`: records per second that the commits moved on lately while deliveries were all busy, else 0;
    `ends`: the next offset of each partition, as it was then."""

    open: int = 0
    delayed: int = 0
    size: int = 0
    drained: float = 0.0
    stale: bool = False
    """Of some partitions at least it is as of an earlier look."""
    ends: Mapping[Partition, int] = MappingProxyType({})


class Settled(NamedTuple):
    """`committed`: below these offsets everything is settled, and each end of it, or what says where it went,
    lies below the ends of `written` (of `.results` and `.states`)."""

    committed: Mapping[Partition, int] = MappingProxyType({})
    written: Mapping[Partition, Lag] = MappingProxyType({})


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
        self.settled = Settled()
        """As of the last look that somebody wanted to know it of."""
        self._wanted: asyncio.Future[Settled] | None = None
        self._looked_for: asyncio.Future[Settled] | None = None

    def due(self) -> bool:
        """Whether something may have moved since the last look, or should have."""
        if self._wanted is not None or self._moved() != self._seen:
            return True
        return self._whole.open > self._whole.delayed or self._clock.now() - self._at >= AT_REST_EVERY

    def begin(self) -> Sequence[str]:
        """A look begins, at these topics."""
        self._seen = self._moved()
        self.began()
        self._looked_for, self._wanted = self._wanted, None
        names = self.names
        return names.open if self._looked_for is None else (*names.open, names.results, names.states)

    def take(self, lags: Mapping[Partition, Lag]) -> None:
        """What the look found, of all partitions of the topics that `begin` named."""
        if self._looked_for is not None:
            lags = self._settle(self._looked_for, lags)
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

    def _settle(
        self, looked_for: asyncio.Future[Settled], lags: Mapping[Partition, Lag]
    ) -> Mapping[Partition, Lag]:
        """Tells those that wanted to know. Returns what is of open requests."""
        told = (self.names.results, self.names.states)
        if any(lag.stale for lag in lags.values()):
            self._disappoint(LogUnavailable("the log cannot tell of all partitions"))
            return {partition: lag for partition, lag in lags.items() if partition.topic not in told}
        written = {partition: lag for partition, lag in lags.items() if partition.topic in told}
        lags = {partition: lag for partition, lag in lags.items() if partition not in written}
        self.settled = Settled({partition: lag.committed for partition, lag in lags.items()}, written)
        if not looked_for.done():
            looked_for.set_result(self.settled)
        return lags

    def fail(self, failure: LogError) -> None:
        """The look found nothing: what was found last stands, and is old."""
        self._told(self._whole._replace(stale=True))
        self._disappoint(failure)

    def _disappoint(self, failure: LogError) -> None:
        """Those that wanted to know what is settled."""
        if self._looked_for is not None and not self._looked_for.done():
            self._looked_for.set_exception(failure)
            self._looked_for.exception()  # nobody is left to see it when all hung up

    def lag(self, partition: Partition) -> Lag | None:
        """As of the last look; None for what is no partition of open requests."""
        return self._lags.get(partition)

    async def settled_anew(self) -> Settled:
        """Of a look that begins from now on: the next one, which tells all that ask until then. Raises
        LogUnavailable, or TimeoutError where no look comes to an end."""
        if self._wanted is None:
            self._wanted = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(PATIENCE):
            return await asyncio.shield(self._wanted)

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
            any(lag.stale for lag in lags.values()),
            {partition: lag.end for partition, lag in lags.items()},
        )

    def __repr__(self) -> str:
        return f"<Survey {self.names.group} {self.measured()}>"


class Surveyor:
    """Looks at the log for the surveys of all services, together."""

    def __init__(self, log: LogInspector, clock: Clock, *, every: float = EVERY) -> None:
        """`every`: seconds between two looks at what moves."""
        self._log = log
        self._clock = clock
        self._every = every
        self.surveys: list[Survey] = []

    async def run(self) -> None:
        """Until cancelled. A log that does not answer leaves the last look standing."""
        while True:
            await self._clock.sleep(self._every)
            if due := [survey for survey in self.surveys if survey.due()]:
                with contextlib.suppress(LogError):
                    await self.look(due)

    async def look(self, surveys: Sequence[Survey] | None = None) -> None:
        """At these, or at all. What the log could not tell of is left as it was. Raises LogUnavailable when
        that is all of them."""
        wanted = self.surveys if surveys is None else surveys
        topics = {survey.names.requests: (survey.names.group, survey.begin()) for survey in wanted}
        try:
            found = await self._log.lags(topics)
        except LogError as failure:
            for survey in wanted:
                survey.fail(failure)
            raise
        unknown = [survey for survey in wanted if not found.get(survey.names.requests)]
        for survey in wanted:
            if survey not in unknown:
                survey.take(found[survey.names.requests])
        if unknown:
            names = ", ".join(survey.names.requests for survey in unknown)
            missing = LogUnavailable(f"how much waits is not known of {names}")
            for survey in unknown:
                survey.fail(missing)
            if len(unknown) == len(wanted):
                raise missing

    def __repr__(self) -> str:
        return f"<Surveyor of {len(self.surveys)} services>"
