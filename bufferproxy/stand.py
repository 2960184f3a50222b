"""One service as a replica serves it: its worker, its front, and the numbers about both."""

from __future__ import annotations

import math
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from bufferproxy import translate
from bufferproxy.accept.admission import CLEAR, Outlook
from bufferproxy.accept.backlog import Backlog
from bufferproxy.accept.front import Front
from bufferproxy.admin.progress import Seen
from bufferproxy.clock import Clock
from bufferproxy.config.addresses import SqliteLog
from bufferproxy.config.settings import Settings
from bufferproxy.dead import FrontDoor
from bufferproxy.deliver.service import Service
from bufferproxy.deliver.upstream import Upstream
from bufferproxy.drain.governor import Governor
from bufferproxy.drain.pacer import Pacer
from bufferproxy.drain.party import Party
from bufferproxy.drain.read_ahead import ReadAhead
from bufferproxy.drain.repeats import Repeats
from bufferproxy.drain.worker import Worker
from bufferproxy.http1.client import Deadlines
from bufferproxy.http1.dial import client_tls
from bufferproxy.http1.reply import ReplyLimits
from bufferproxy.http1.target import parse_target
from bufferproxy.log.contract import Log, LogReader
from bufferproxy.log.survey import Measured, Survey
from bufferproxy.observe.events import Emit, Events
from bufferproxy.observe.gauges import GaugeReading
from bufferproxy.observe.snapshot import Resting, Standing
from bufferproxy.policy.breaker import State
from bufferproxy.policy.bucket import TokenBucket
from bufferproxy.policy.ramp import START
from bufferproxy.policy.regime import Regime
from bufferproxy.rate.talk import Governed, Talk
from bufferproxy.records import Partition
from bufferproxy.results.dead_view import DeadView
from bufferproxy.settle.redrive import Redriver
from bufferproxy.settle.settler import Settler

AT_REST = 40
"""Looks (10 s) that a service at rest is passed over: the ramp after a long silence is begun in time all the
same."""


class Stand:
    def __init__(
        self,
        name: str,
        settings: Settings,
        log: Log,
        clock: Clock,
        events: Events,
        dead: DeadView,
        talk: Talk | None = None,
        ahead: ReadAhead | None = None,
    ) -> None:
        """`talk`: with other replicas, where the rate is shared out; `ahead`: the memory that all services
        share."""
        self.name = name
        self.worker: Worker | None = None
        self._service = settings.services[name]
        self._settings = settings
        self._clock = clock
        self._events = events
        self._dead = dead
        self._names = names = translate.names(settings, name)
        # One process sees all that comes and goes of an SQLite log, so it can count exactly.
        self._exact = isinstance(settings.log, SqliteLog)
        self._plan = translate.plan(settings, name)
        self.backlog = Backlog(self._service.rate, exact=self._exact, now=clock.now)
        partitions = tuple(Partition(names.requests, n) for n in range(log.partitions(names.requests)))
        self.front = Front(name, names, partitions, translate.terms(self._service), self.backlog)
        door, expire = FrontDoor(self.front), self._service.expire
        self.redriver = Redriver(name, expire, log, door, clock, events.emit)
        self.survey = Survey(
            names,
            clock,
            self.backlog.measuring,
            self._surveyed,
            concurrency=self._plan.concurrency,
            moved=self._stirs if self._exact else object,
        )
        self._talk = talk
        self._ahead = ahead
        self._bucket = TokenBucket(self._service.rate, self._service.burst, clock.now())
        bucket = self._bucket if talk is None else talk.lease(name)
        self.pacer = Pacer(name, bucket, clock, events.emit)
        self._ramp = translate.congestion(self._service).ramp
        self._reader: LogReader | None = None
        self._deliverer: Service | None = None
        self._governor: Governor | None = None
        self._passed_over = AT_REST
        self._plain = False
        """Nothing holds the service back, so that nothing will change by itself."""
        self._moved = 0
        self._partitions = sum(map(log.partitions, self._plan.reads))
        """Of all topics that workers read."""

    # --- draining ---

    async def start_draining(self, log: Log) -> Coroutine[Any, Any, None]:
        """What drains, to be run as a task."""
        emit = self._events.emit
        self._deliverer = deliverer = _deliverer(self._settings, self.name, self._clock, emit)
        settler = Settler(self.name, self._names, log, self._clock, emit)
        self.worker = worker = Worker(
            self._plan, deliverer, self.pacer, settler, self._clock, emit, self._ahead
        )
        worker.sender.repeats = Repeats(partial(self._dead.settled, self.name), self._clock)
        self._reader = await log.reader(self._names.group, self._plan.reads, worker.leases)
        return self._drain(worker.run(self._reader, log), Party(self.name, self.pacer, worker, self._clock))

    async def _drain(self, working: Coroutine[Any, Any, None], party: Party) -> None:
        settings, burst = translate.congestion(self._service), self._service.burst
        if self._talk is None:
            self._governor = Governor(party, self._bucket, settings, burst, self._clock)
        else:
            self._talk.join(Governed(party, settings, burst, self._talk.lease(self.name)))
            assert self.worker is not None  # noqa: S101 - it is what works
            self.worker.arrived = self._talk.nudge
        await working

    async def stop_draining(self, grace: float) -> None:
        """Finish and commit what is in flight. `run` must still be running."""
        if self.worker is not None:
            await self.worker.stop(grace)

    async def close(self) -> None:
        if self._reader is not None:
            await self._reader.close()
        if self._deliverer is not None:
            await self._deliverer.close()

    def look(self) -> None:
        """Four times a second: judges the service, emits how long deliveries were held back, and updates what
        callers are told to expect. A service at rest costs next to nothing."""
        worker, pacer = self.worker, self.pacer
        if worker is None:
            return
        if self._at_rest(worker) and self._passed_over < AT_REST:
            self._passed_over += 1
            return
        self._passed_over = 0
        if self._governor is not None:
            self._governor.look()
        for held in pacer.held():
            self._events.emit(held)
        self.backlog.outlook = ahead = outlook(pacer.asked_for, pacer.regime, self._ramp)
        self._plain = ahead is CLEAR and not pacer.regime.shadow

    def _at_rest(self, worker: Worker) -> bool:
        """Nothing is to be sent, and nothing will change by itself."""
        return self._plain and not worker.activity and self.pacer.resting is None

    # --- numbers ---

    def begin_counting(self) -> None:
        """After the first survey: from here on what comes and goes is counted."""
        measured = self.survey.measured()
        self.backlog.requests = measured.open

    def finished(self) -> None:
        """A request of this service has ended here."""
        self._moved += 1
        self.backlog.finished()

    def _stirs(self) -> object:
        worker = self.worker
        return self.backlog.requests, self._moved, 0 if worker is None else worker.moved

    def _surveyed(self, measured: Measured) -> None:
        self.backlog.measured(
            measured.open,
            measured.size,
            measured.drained,
            measured.ends,
            measured.delayed,
            stale=measured.stale,
        )

    def gauges(self) -> GaugeReading:
        worker, rate = self.worker, self._service.rate
        in_flight = 0 if worker is None else worker.in_flight
        if self._exact:
            measured = self.survey.measured()
            open_ = self.backlog.requests - self.backlog.storing
        else:
            measured = self.survey.measured(() if worker is None else worker.partitions)
            open_ = measured.open
        delayed = min(measured.delayed, max(0, open_ - in_flight))
        allowed, regime = 0.0 if worker is None else self.pacer.rate, self.pacer.regime
        return GaugeReading(
            ready=max(0, open_ - delayed - in_flight),
            delayed=delayed,
            in_flight=in_flight,
            bytes=measured.size,
            oldest_at=None if worker is None else worker.oldest_at,
            drain_eta=_eta(open_, allowed, measured.drained),
            deliveries=in_flight,
            rate_limit=rate,
            rate_allowed=allowed,
            rate_share=0.0 if worker is None else self.pacer.ceiling,
            held=self.front.held,
            dead_letters=self._dead_letters(),
            partitions=0 if worker is None else worker.held,
            breaker=regime.breaker.value,
            concurrency_allowed=0 if worker is None else regime.concurrency,
            concurrency_found=regime.adaptive,
            shadow=regime.shadow,
        )

    def _dead_letters(self) -> int:
        """Told by who holds the service's first partition, so that a sum over replicas is right."""
        worker = self.worker
        first = Partition(self._names.requests, 0)
        return self._dead.kept(self.name) if worker is not None and first in worker.partitions else 0

    def standing(self) -> Standing:
        resting = self.pacer.resting
        return Standing(
            self._service.to,
            self._service.burst,
            self._plan.concurrency,
            self.pacer.paused,
            None if resting is None else Resting(resting[0], self._clock.wall() + resting[1]),
        )

    def seen(self) -> Seen:
        worker = self.worker
        if worker is None or self._at_rest(worker):
            return Seen(0, self._moved, excused=True, allowed=0.0)
        part = worker.held / self._partitions  # turns go round: the share of the moment tells little
        return Seen(
            worker.deliverable + worker.unopened,
            self._moved + worker.moved,
            self.pacer.resting is not None,
            self._service.rate * part if part else 0.0,
            worker.trouble or ("" if self._talk is None else self._talk.trouble(self.name)),
        )

    def __repr__(self) -> str:
        return f"<Stand {self.name} {self.worker!r}>"


def outlook(rest: float, regime: Regime, ramp: float) -> Outlook:
    """`rest`: seconds that the service asked for. The few until the next connect is tried are not among them:
    it may work, and nobody is refused for that. `ramp`: seconds from START to the full rate."""
    still = max(rest, regime.left) if regime.rate == 0.0 else rest
    # A breaker that closes is followed by a ramp.
    share = regime.ramp if regime.forgiving is State.CLOSED else START
    if still == 0.0 and share == 1.0:
        return CLEAR
    return Outlook(still, share, (1 - START) / ramp if ramp else 0.0)


def _deliverer(settings: Settings, name: str, clock: Clock, emit: Emit) -> Service:
    service = settings.services[name]
    files = service.tls
    # A context costs 50 ms and 300 KiB: the system's authorities are read into it.
    secured = any(url.startswith("https:") for url in service.to)
    tls = client_tls(_path(files.ca_file), _path(files.cert_file), _path(files.key_file)) if secured else None
    limits = ReplyLimits(body=service.results.body)
    upstream = Upstream(
        [parse_target(url) for url in service.to],
        clock=clock,
        idle=translate.concurrency(service),
        connect=min(5.0, service.timeout),
        limits=limits,
        tls=tls,
        service=name,
        emit=emit,
    )
    timeout = service.timeout
    deadlines = Deadlines(send=timeout, first_byte=timeout, whole=timeout)
    return Service(upstream, deadlines=deadlines, clock=clock, preserve_host=service.preserve_host)


def _path(file: str | None) -> Path | None:
    return None if file is None else Path(file)


def _eta(open_: int, allowed: float, drained: float) -> float:
    """Seconds until nothing is left at today's pace."""
    if open_ == 0:
        return 0.0
    pace = drained if allowed == math.inf else min(allowed, drained) if drained else allowed
    return open_ / pace if pace else math.inf
