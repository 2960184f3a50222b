"""The lease protocol over a log: reads the control topic, appends what this replica has to say. Thin.

Every worker reads `control` from its end, and feeds a `Replica` (pure). Whoever leads also adds up what all
have met and decides the regime of each service (`policy/congestion.py`); the grants carry it to everybody.
A log that is away stops nothing here: leases run out, and nothing is sent until it is back.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from bufferproxy.clock import Clock
from bufferproxy.errors import LogError, LogUnavailable
from bufferproxy.log.contract import Appended, Log, LogTail
from bufferproxy.policy.congestion import Congestion, Settings
from bufferproxy.policy.regime import Regime
from bufferproxy.policy.tally import Tally
from bufferproxy.rate.holder import Lease, Want
from bufferproxy.rate.records import Report, Unreadable, decode, encode
from bufferproxy.rate.replica import Replica
from bufferproxy.rate.shares import Ceiling
from bufferproxy.records import Partition, Record

logger = logging.getLogger(__name__)

TICK = 0.25
"""Seconds between two verdicts of the leader."""

RETRY = 0.5
"""Seconds until a log that is away is asked again."""


class Party(Protocol):
    """One service on this replica (`drain/party.py`)."""

    name: str

    def want(self) -> tuple[int, int, int]: ...

    def counted(self) -> Tally: ...

    def told(self) -> None: ...

    def obey(self, regime: Regime, concurrency: int, retry_rate: float) -> None: ...


class Governed(NamedTuple):
    """`lease` is the bucket of the party's pacer."""

    party: Party
    settings: Settings
    burst: int
    lease: Lease


class Talk:
    def __init__(self, log: Log, topic: str, worker: str, clock: Clock) -> None:
        """`worker` names this life of this process."""
        self._log = log
        self._place = Partition(topic, 0)
        self._clock = clock
        self.replica = Replica(worker, clock.now(), clock.random())
        self._services: dict[str, _Service] = {}
        self._changed = asyncio.Event()
        self._judge_at = clock.now()
        self._stopped = False

    def lease(self, service: str) -> Lease:
        """The bucket for the pacer of `service`: empty until somebody grants."""
        lease = self.replica.holder.lease(service, self._clock.now())
        lease.told = self.nudge
        return lease

    def join(self, governed: Governed) -> None:
        """Its pacer waits for a lease from now on."""
        service = _Service(governed, self._clock)
        self._services[governed.party.name] = service
        self._govern(service, self._clock.now())

    async def open(self) -> LogTail:
        """From the end: what was said before this process began says nothing about it."""
        lags = await self._log.lag("", (self._place.topic,))
        return await self._log.tail({self._place: lags[self._place].end})

    async def run(self, tail: LogTail) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(tail))
            while True:
                self._changed.clear()
                self._step()
                await self._rest()

    def nudge(self) -> None:
        """Backlog has come or gone, or a turn is over."""
        self._changed.set()

    async def stop(self) -> None:
        """Hand over at once: nothing is sent after this. Raises no LogError."""
        self._stopped = True
        release = self.replica.stop(self._wants(), self._clock.now())
        try:
            await self._log.append(self._place, encode(release))
        except LogError as error:
            logger.warning("the leases of this worker run out by themselves: %s", error)

    # --- how

    async def _listen(self, tail: LogTail) -> None:
        while True:
            try:
                self._read(await tail.fetch())
            except LogUnavailable:
                await self._clock.sleep(RETRY)

    def _read(self, records: Sequence[Record]) -> None:
        now = self._clock.now()
        for record in records:
            said = decode(record.value)
            if isinstance(said, Unreadable):
                logger.warning("a record in %s is passed over: %s", self._place.topic, said.why)
            elif isinstance(said, Report):
                for name, ask in said.asks.items():
                    service = self._services.get(name)
                    if service is not None:
                        service.hear(ask.outcomes)
            led = self.replica.leader.leads
            self.replica.read(record.offset, said, now)
            if self.replica.leader.leads and not led:
                for service in self._services.values():
                    service.take_over(now)
        for service in self._services.values():
            service.obey()
        self._changed.set()

    def _step(self) -> None:
        now = self._clock.now()
        if self._stopped:
            return
        if now >= self._judge_at:
            self._judge_at = now + TICK
            for service in self._services.values():
                service.judge(now, self._clock.random(), leads=self.replica.leader.leads)
                self._govern(service, now)
        for said in self.replica.due(self._wants(), now):
            if isinstance(said, Report):
                for service in self._services.values():
                    service.governed.party.told()
            self._log.submit(self._place, encode(said), _ignore)

    def _govern(self, service: _Service, now: float) -> None:
        regime, governed = service.verdict(now), service.governed
        ceiling = Ceiling(regime.rate, governed.burst, regime.concurrency)
        self.replica.leader.govern(governed.party.name, ceiling, regime.encode(), now)

    def _wants(self) -> Mapping[str, Want]:
        return {name: service.want() for name, service in self._services.items()}

    async def _rest(self) -> None:
        wait = min(self.replica.wake_at, self._judge_at) - self._clock.now()
        timer = self._clock.call_later(max(0.001, wait), self._changed.set)
        try:
            await self._changed.wait()
        finally:
            timer.cancel()

    def __repr__(self) -> str:
        return f"<Talk leads={self.replica.leader.leads} {list(self._services)}>"


class _Service:
    """What is kept of one service here. `_heard` is what all replicas have met since the last verdict."""

    def __init__(self, governed: Governed, clock: Clock) -> None:
        self.governed = governed
        self._clock = clock
        self._congestion = Congestion(governed.settings, clock.now())
        self._heard = Tally()

    def want(self) -> Want:
        party = self.governed.party
        return Want(*party.want(), party.counted().encode())

    def hear(self, outcomes: Mapping[str, float]) -> None:
        try:
            self._heard.add(Tally.decode(outcomes))
        except ValueError as error:
            logger.warning("outcomes of %s are passed over: %s", self.governed.party.name, error)

    def judge(self, now: float, random: float, *, leads: bool) -> None:
        """Only the leader's verdict counts; what others have heard is the leader's business."""
        if leads:
            self._congestion.feed(self._heard, now, random)
        self._heard = Tally(self._heard.era)

    def verdict(self, now: float) -> Regime:
        return self._congestion.regime(now)

    def take_over(self, now: float) -> None:
        """This replica leads: it goes on from the last verdict it was told."""
        self._congestion = Congestion(self.governed.settings, now)
        if (regime := self._told()) is not None:
            self._congestion.inherit(regime, now)

    def obey(self) -> None:
        regime = self._told()
        if regime is None:
            return
        lease, now = self.governed.lease, self._clock.now()
        share = lease.rate / lease.ceiling if 0 < lease.ceiling < math.inf else 1.0
        retries = regime.retry_rate * share if regime.retry_rate < math.inf else math.inf
        self.governed.party.obey(regime, lease.concurrency(now), retries)

    def _told(self) -> Regime | None:
        try:
            return Regime.decode(self.governed.lease.regime) if self.governed.lease.regime else None
        except ValueError as error:
            logger.warning("a verdict on %s is passed over: %s", self.governed.party.name, error)
            return None


_ignore: Callable[[Appended], None] = lambda _: None  # noqa: E731 - what is not stored is said again
