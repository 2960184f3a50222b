"""The lease protocol over a log: reads the control topic, appends what this replica has to say. Thin.

Every worker reads `control` from its end, and feeds a `Replica` (pure). Whoever leads a service also adds up
what all have met of it and decides its regime (`policy/congestion.py`); the grants carry it to everybody.
A log that is away stops nothing here: leases run out, and nothing is sent until it is back.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from bufferproxy.clock import Clock
from bufferproxy.errors import LogError, LogUnavailable
from bufferproxy.log.contract import Appended, Log, LogTail
from bufferproxy.policy.congestion import Congestion, Settings
from bufferproxy.policy.regime import Regime
from bufferproxy.policy.tally import Tally
from bufferproxy.rate.holder import Lease, Want
from bufferproxy.rate.past import LOOK_BACK, nothing_lasts
from bufferproxy.rate.records import Read, Report, Unreadable, decode, encode
from bufferproxy.rate.replica import Replica
from bufferproxy.rate.shares import Ceiling
from bufferproxy.records import Partition, Position, Record

logger = logging.getLogger(__name__)

TICK = 0.25
"""Seconds between two verdicts of the leader while anything changes."""

REST = 1.0
"""The same while no service is sent anything and no verdict changes."""

RETRY = 0.5
"""Seconds until a log that is away is asked again."""

UNGRANTED = 4.5
"""Seconds without a word on who may send what, or without one of ours stored, after which it is told. When
nothing is wrong, the next leader is there after 1.8 s, and grants 2.1 s later where it has just started."""


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
        self._stopped = self._released = False
        self._begins_at = 0
        """The offset that was the end of the log when reading began."""
        self._past: list[tuple[int, Read]] = []
        """What lies before that, as far as it is looked at."""
        self._unread = ""
        """Why the last look for what others say failed."""
        self._unreadable = (-math.inf, "")
        """When something was read that is not understood, by which nobody leads any more; and why."""
        self._unsaid: tuple[float, str] | None = None
        """Since when nothing of ours is stored, and why."""

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
        """From the end: what was said before this process began says nothing about it. What comes right
        before is looked at, for it may prove that there is nothing to wait for."""
        lag = (await self._log.lag("", (self._place.topic,)))[self._place]
        self._begins_at = lag.end
        self.replica.begin(self._clock.now())
        if lag.end == 0:
            self.replica.nothing_lasts(self._clock.now())
        return await self._log.tail({self._place: max(lag.start, lag.end - LOOK_BACK)})

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

    def trouble(self, service: str) -> str:
        """Why `service` gets no share of its rate; empty while it can get one."""
        now, topic = self._clock.now(), self._place.topic
        granted_at = self.replica.leader.fence.of(service).granted_at
        since, unsaid = self._unsaid or (now, "")
        read_at, unreadable = self._unreadable
        if now - granted_at > UNGRANTED:
            cause = (
                self._unread or unsaid or (unreadable if read_at > granted_at else "nothing is heard there")
            )
            return f"nobody has shared out its rate for {now - granted_at:.0f} s ({topic}: {cause})"
        if now - since > UNGRANTED:
            return f"it cannot ask for its share of the rate ({topic}: {unsaid})"
        return ""

    async def stop(self) -> None:
        """Hand over at once: nothing is sent after this. To be called once more when nothing is in flight
        any more. Raises no LogError."""
        if self._released:
            return
        self._stopped = True
        release = self.replica.stop(self._wants(), self._clock.now())
        try:
            await self._log.append(self._place, encode(release))
            self._released = not release.in_flight
        except LogError as error:
            logger.warning("the leases of this worker run out by themselves: %s", error)

    # --- how

    async def _listen(self, tail: LogTail) -> None:
        while True:
            try:
                self._read(await tail.fetch())
                self._unread = ""
            except LogUnavailable as error:
                self._unread = str(error)
                await self._clock.sleep(RETRY)

    def _read(self, records: Sequence[Record]) -> None:
        now = self._clock.now()
        for record in records:
            said = decode(record.value)
            if record.offset < self._begins_at:
                self._look_back(record.offset, said)
                continue
            if isinstance(said, Unreadable):
                self._unreadable = now, f"a record that is not understood: {said.why}"
                logger.warning("a record in %s is passed over: %s", self._place.topic, said.why)
            elif isinstance(said, Report):
                for name, ask in said.asks.items():
                    service = self._services.get(name)
                    if service is not None and ask.outcomes:
                        service.hear(ask.outcomes)
                        self._judge_at = min(self._judge_at, now + TICK)
            led = self.replica.leader.led
            self.replica.read(record.offset, said, now)
            for name in self.replica.leader.led - led:
                self._services[name].take_over(now)
        for service in self._services.values():
            service.obey()
        self._changed.set()

    def _look_back(self, offset: int, said: Read) -> None:
        self._past.append((offset, said))
        if offset == self._begins_at - 1 and nothing_lasts(self._past):
            self.replica.nothing_lasts(self._clock.now())

    def _step(self) -> None:
        now = self._clock.now()
        if self._stopped:
            return
        if now >= self._judge_at:
            changed = [self._judged(name, service, now) for name, service in self._services.items()]
            self._judge_at = now + (TICK if any(changed) else REST)
        for said in self.replica.due(self._wants(), now):
            if isinstance(said, Report):
                for service in self._services.values():
                    service.governed.party.told()
            self._log.submit(self._place, encode(said), self._stored)

    def _stored(self, appended: Appended) -> None:
        """What is not stored is said again, so this only remembers why."""
        if isinstance(appended, Position):
            self._unsaid = None
        else:
            since = self._clock.now() if self._unsaid is None else self._unsaid[0]
            self._unsaid = since, str(appended) or type(appended).__name__

    def _judged(self, name: str, service: _Service, now: float) -> bool:
        """Returns whether anything was heard, or is different from the last time."""
        before = service.regime
        heard = service.judge(now, self._clock.random(), leads=name in self.replica.leader.led)
        self._govern(service, now)
        return heard or service.regime != before

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
        return f"<Talk leads={sorted(self.replica.leader.led)} of {list(self._services)}>"


class _Service:
    """What is kept of one service here. `_heard` is what all replicas have met since the last verdict."""

    def __init__(self, governed: Governed, clock: Clock) -> None:
        self.governed = governed
        self._clock = clock
        self._congestion = Congestion(governed.settings, clock.now())
        self._heard = Tally()
        self.regime: Regime | None = None
        """The last verdict."""

    def want(self) -> Want:
        party = self.governed.party
        return Want(*party.want(), party.counted().encode())

    def hear(self, outcomes: Mapping[str, float]) -> None:
        try:
            self._heard.add(Tally.decode(outcomes))
        except ValueError as error:
            logger.warning("outcomes of %s are passed over: %s", self.governed.party.name, error)

    def judge(self, now: float, random: float, *, leads: bool) -> bool:
        """Only the leader's verdict counts; what others have heard is the leader's business. Returns whether
        anything was heard."""
        heard, self._heard = self._heard, Tally(self._heard.era)
        if leads:
            self._congestion.feed(heard, now, random)
        return heard != self._heard

    def verdict(self, now: float) -> Regime:
        self.regime = self._congestion.regime(now)
        return self.regime

    def take_over(self, now: float) -> None:
        """This replica leads it: it goes on from the last verdict it was told."""
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
