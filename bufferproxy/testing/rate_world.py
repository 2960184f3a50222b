"""Processes that share rates through one log, simulated, with all that can go wrong between them.

A world is a heap of events. Each process has a clock of its own (another zero, up to 1 % fast or slow),
reads the log with delays of its own, and sends as greedily as its leases let it. The checker sees only when
attempts were sent, in true time.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import NamedTuple

from bufferproxy.rate.holder import Want
from bufferproxy.rate.records import Claim, Read, Said
from bufferproxy.rate.replica import Replica
from bufferproxy.rate.shares import Ceiling

SERVICE = "auth"
WINDOWS = (0.1, 1.0, 5.0, 60.0)
MANY = 1_000_000
"""A backlog that does not end while a world lasts."""

Make = Callable[[str, float, float], Replica]


class Sent(NamedTuple):
    at: float
    service: str
    who: str
    thawed: bool
    """Its process was frozen between the check and the write: allowed once a freeze, on top."""


class Wait(NamedTuple):
    """From when to when a process with backlog of a service sent nothing of it."""

    service: str
    since: float
    until: float


class Work:
    """What one process has of one service."""

    def __init__(self, process: Process, service: str) -> None:
        self.service = service
        self.process = process
        self.lease = process.replica.holder.lease(service, process.clock())
        self.backlog = 0
        self.hungry_since = process.world.now
        """Since when it has backlog and sends nothing of it."""
        self.in_flight = self.at_service = 0
        """As its process knows, and as it is (less what was sent by a thawed one)."""
        self.pump_at = math.inf

    @property
    def want(self) -> Want:
        return Want(self.backlog, 2 if self.backlog else 0, self.in_flight)

    def pump(self) -> None:
        """Send whatever may be sent, and come back when more may."""
        process, world = self.process, self.process.world
        if not process.thawed(self.pump):
            return
        while self.backlog and self.in_flight < self.lease.concurrency(process.clock()):
            wait = self.lease.take(process.clock())
            if wait:
                if wait < math.inf:
                    self.pump_at = world.now + process.true(wait) + world.random.uniform(1e-6, 0.001)
                    world.at(self.pump_at, self._pump_alarm)
                return
            self.lease.sent()
            self.send()
            if world.now < process.frozen_until:
                return

    def _pump_alarm(self) -> None:
        if self.process.world.now >= self.pump_at:
            self.pump()

    def send(self) -> None:
        process, world = self.process, self.process.world
        self.backlog -= 1
        self.in_flight += 1
        at, thawed = world.now, False
        if process.freeze_in_a_send:
            process.freeze(process.freeze_in_a_send)
            at, process.freeze_in_a_send, thawed = process.frozen_until, 0.0, True
            world.at(at + 0.001, self.pump)
        world.sent(self, at, thawed=thawed)
        world.waits.append(Wait(self.service, self.hungry_since, at))
        self.hungry_since = at
        if not self.backlog or self.lease.over:
            process.speak()

    def finished(self) -> None:
        process = self.process
        if process.thawed(self.finished):
            too_many = self.in_flight > self.lease.concurrency(process.clock())
            self.in_flight -= 1
            if too_many:
                process.speak()
            self.pump()

    def given(self, requests: int) -> None:
        process = self.process
        began = requests and not self.backlog
        if began:
            self.hungry_since = process.world.now
        self.backlog += requests
        if began and process.thawed(self.pump):
            process.speak()
            self.pump()


class Process:
    """`settings`: the services that it knows, and how much it would allow each."""

    def __init__(self, world: World, name: str, settings: Mapping[str, Ceiling]) -> None:
        random = world.random
        self.world, self.name = world, name
        self._zero = random.uniform(-1e6, 1e6)
        self._speed = 1 + random.uniform(-0.01, 0.01)
        self.replica = world.make(name, self.clock(), random.random())
        for service, ceiling in settings.items():
            self.replica.leader.govern(service, ceiling, {}, self.clock())
        self.works = {service: Work(self, service) for service in settings}
        self.read_up_to = len(world.log)
        self._reading = False
        self.last_landing = world.now
        self.alive = True
        self.frozen_until = 0.0
        self.deaf_until = 0.0
        """What it reads comes late."""
        self.mute_until = 0.0
        """What it appends is stored late."""
        self.freeze_in_a_send = 0.0
        self.wake_at = math.inf
        world.after(0.0, self.wake)

    def clock(self) -> float:
        return self._zero + self.world.now * self._speed

    def true(self, seconds: float) -> float:
        return max(0.0, seconds) / self._speed

    def thawed(self, again: Callable[[], None]) -> bool:
        """False: dead, or frozen and called again after that, in any order with all else that waited."""
        if self.alive and self.world.now < self.frozen_until:
            self.world.at(self.frozen_until + self.world.random.uniform(0, 0.003), again)
        return self.alive and self.world.now >= self.frozen_until

    # --- the shell around the state machines ---

    def wake(self) -> None:
        if not self.thawed(self.wake):
            return
        self.speak()
        wait = self.true(self.replica.wake_at - self.clock())
        self.wake_at = self.world.now + max(0.0005, min(wait, 1.0))
        self.world.at(self.wake_at, self._alarm)

    def _alarm(self) -> None:
        if self.world.now >= self.wake_at:
            self.wake()

    def speak(self) -> None:
        wants = {service: work.want for service, work in self.works.items()}
        for said in self.replica.due(wants, self.clock()):
            self.world.append(self, said)

    def hear(self, after: float) -> None:
        """There is something to read."""
        if not self._reading:
            self._reading = True
            self.world.after(after, self._poll)

    def _poll(self) -> None:
        """Read what is there, not too much at once."""
        world = self.world
        if not self.thawed(self._poll):
            return
        if world.now < self.deaf_until:
            world.at(self.deaf_until, self._poll)
            return
        self._reading = False
        now, end = self.clock(), min(len(world.log), self.read_up_to + 20)
        for offset in range(self.read_up_to, end):
            self.replica.read(offset, world.log[offset], now)
        self.read_up_to = end
        if end < len(world.log):
            self.hear(world.random.uniform(0.001, 0.05))
        self.wake()
        for work in self.works.values():
            work.pump()

    def given(self, requests: int) -> None:
        """So many of each of its services."""
        for work in self.works.values():
            work.given(requests)

    def freeze(self, seconds: float) -> None:
        self.frozen_until = max(self.frozen_until, self.world.now + seconds)

    def stop(self) -> None:
        wants = {service: Want(0, 0, work.in_flight) for service, work in self.works.items()}
        self.world.append(self, self.replica.stop(wants, self.clock()))
        self.world.remove(self)


class World:
    """`ceilings`: of one service, or by service; the most that any process would allow."""

    def __init__(
        self,
        seed: int,
        ceilings: Ceiling | Mapping[str, Ceiling],
        *,
        make: Make = Replica,
        latency: tuple[float, float] = (0.0015, 0.006),
        service: tuple[float, float] = (0.001, 0.008),
    ) -> None:
        self.random = Random(seed)
        self.ceilings = {SERVICE: ceilings} if isinstance(ceilings, Ceiling) else ceilings
        self.make = make
        self.latency, self.service = latency, service
        self.now = 0.0
        self.log: list[Read] = []
        self.attempts: list[Sent] = []
        self.waits: list[Wait] = []
        self.in_flight = dict.fromkeys(self.ceilings, 0)
        self.most_in_flight = dict.fromkeys(self.ceilings, 0)
        self.processes: list[Process] = []
        self.orphaned = dict.fromkeys(self.ceilings, 0)
        """Backlog of services that no process knows just now."""
        self.newcomer: Callable[[], Mapping[str, Ceiling]] = lambda: self.ceilings
        """Settings of a process that joins."""
        self.away_until = 0.0
        self.slow_until = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._names = 0

    def at(self, when: float, do: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (max(when, self.now), self._count, do))

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        self.at(self.now + seconds, do)

    def run(self, until: float) -> None:
        while self._heap and self._heap[0][0] <= until:
            self.now, _, do = heapq.heappop(self._heap)
            do()
        self.now = until

    # --- the log ---

    def _hop(self) -> float:
        """Seconds for one way; now and then a record or a reader lags behind."""
        usual = self.random.uniform(*self.latency)
        if self.now < self.slow_until and self.random.random() < 0.2:
            usual += self.random.expovariate(1.0)
        return usual

    def append(self, by: Process, said: Said) -> None:
        lands = max(self.now + self._hop(), by.last_landing, by.mute_until)
        if self.now < self.away_until:
            if self.random.random() < 0.5:
                return  # lost
            lands = max(lands, self.away_until + self.random.uniform(0, 0.5))
        by.last_landing = lands
        self.at(lands, lambda: self._land(said))

    def _land(self, said: Said) -> None:
        self.log.append(said)
        for process in self.processes:
            process.hear(max(0.0, self.away_until - self.now) + self._hop())

    # --- processes and what they do ---

    def add(self, backlog: int = 0, settings: Mapping[str, Ceiling] | None = None) -> Process:
        """`backlog` of each service that it knows: all, or those of `settings`."""
        self._names += 1
        process = Process(self, f"w{self._names}", self.ceilings if settings is None else settings)
        self.processes.append(process)
        for service, work in process.works.items():
            work.backlog, self.orphaned[service] = backlog + self.orphaned[service], 0
        return process

    def remove(self, process: Process) -> None:
        """It is gone, and others have its partitions."""
        process.alive = False
        self.processes.remove(process)
        for service, work in process.works.items():
            self.in_flight[service] -= work.at_service
            self.hand_on(service, work.backlog)

    def hand_on(self, service: str, backlog: int) -> None:
        """To somebody who knows the service."""
        those = [process for process in self.processes if service in process.works]
        if those:
            self.random.choice(those).works[service].given(backlog)
        else:
            self.orphaned[service] += backlog

    def sent(self, work: Work, at: float, *, thawed: bool) -> None:
        service, process = work.service, work.process
        self.attempts.append(Sent(at, service, process.name, thawed))
        if not thawed:
            self.in_flight[service] += 1
            work.at_service += 1
        self.most_in_flight[service] = max(self.most_in_flight[service], self.in_flight[service])

        def done() -> None:
            if process.alive and not thawed:
                self.in_flight[service] -= 1
                work.at_service -= 1
            work.finished()

        self.at(at + self.random.uniform(*self.service), done)

    def heal(self) -> None:
        """From now on nothing happens that should not."""
        self.away_until = self.slow_until = self.now
        for process in self.processes:
            process.freeze_in_a_send = 0.0
            process.deaf_until = process.mute_until = self.now
            if process.frozen_until > self.now:
                process.frozen_until = self.now

    def trickle(self, each: Callable[[Process], float], until: float) -> None:
        """Requests arrive: `each` says how many a second at a process, of each service."""

        def arrive() -> None:
            for process in list(self.processes):
                expected = each(process) * 0.05
                process.given(int(expected) + (self.random.random() < expected % 1))
            if self.now < until:
                self.after(0.05, arrive)

        self.after(0.0, arrive)

    def leader(self, service: str = SERVICE) -> Process:
        return next(process for process in self.processes if service in process.replica.leader.led)

    # --- what must hold ---

    def over_ceiling(self) -> list[str]:
        """Windows with more attempts than the ceiling allows, those of frozen processes not counted."""
        complaints = []
        for service, ceiling in self.ceilings.items():
            for window in WINDOWS:
                complaints += self._over(service, ceiling, window)
            if self.most_in_flight[service] > ceiling.concurrency:
                complaints.append(
                    f"{service}: {self.most_in_flight[service]} in flight of {ceiling.concurrency}"
                )
        return complaints

    def _over(self, service: str, ceiling: Ceiling, window: float) -> list[str]:
        """The first of them."""
        stamps = sorted(sent.at for sent in self.attempts if sent.service == service and not sent.thawed)
        allowed = int(ceiling.rate * window + ceiling.burst + 1e-9)
        for last in range(allowed, len(stamps)):
            first = stamps[last - allowed]
            if stamps[last] - first < window:
                return [f"{service}: more than {allowed} in {window:g} s from {first:.3f}"]
        return []

    def used(self, start: float, end: float, service: str = SERVICE) -> float:
        stamps = sorted(sent.at for sent in self.attempts if sent.service == service)
        count = bisect_left(stamps, end) - bisect_left(stamps, start)
        return count / (end - start) / self.ceilings[service].rate

    def longest_wait(self, start: float) -> float:
        """Seconds that a process with backlog of a service sent nothing of it; of waits that began after
        `start`."""
        works = [work for process in self.processes for work in process.works.values() if work.backlog]
        going_on = [Wait(work.service, work.hungry_since, self.now) for work in works]
        return max(
            (wait.until - wait.since for wait in self.waits + going_on if wait.since >= start), default=0.0
        )


# --- what goes wrong ---

Fault = Callable[[World, Process, Random, float], None]


def storm(world: World, random: Random, calm: float, faults: Sequence[Fault], gap: float) -> None:
    """One fault after the other until `calm`, `gap` seconds apart on average."""
    when = random.uniform(0, 4)
    while when < calm:
        world.at(when, partial(_fault, random.choice(faults), world, random, calm))
        when += random.expovariate(1 / gap)
    world.at(calm, world.heal)


def _fault(fault: Fault, world: World, random: Random, calm: float) -> None:
    victim = random.choice(world.processes)
    leading = next((process for process in world.processes if process.replica.leader.led), None)
    if leading and random.random() < 0.3:
        victim = leading
    fault(world, victim, random, max(0.01, calm - world.now))


def _join(world: World, _: Process, random: Random, rest: float) -> None:
    if len(world.processes) < 8:
        world.add(random.choice((0, MANY)), world.newcomer())


def _kill(world: World, victim: Process, random: Random, rest: float) -> None:
    if len(world.processes) > 2:
        world.remove(victim)


def _stop(world: World, victim: Process, random: Random, rest: float) -> None:
    if len(world.processes) > 2:
        victim.stop()


def _freeze(world: World, victim: Process, random: Random, rest: float) -> None:
    victim.freeze(min(rest, random.choice((0.05, 0.5, 1.8, 2.2, 4.0)) * random.uniform(0.8, 1.2)))


def _freeze_in_a_send(world: World, victim: Process, random: Random, rest: float) -> None:
    victim.freeze_in_a_send = min(rest, random.uniform(0.05, 4.0))


def _away(world: World, _: Process, random: Random, rest: float) -> None:
    world.away_until = world.now + min(rest, random.expovariate(1.0))


def _slow(world: World, _: Process, random: Random, rest: float) -> None:
    world.slow_until = world.now + min(rest, random.uniform(1.0, 4.0))


def _deaf(world: World, victim: Process, random: Random, rest: float) -> None:
    victim.deaf_until = world.now + min(rest, random.choice((0.1, 0.5, 3.0)) * random.uniform(0.5, 1.5))


def _mute(world: World, victim: Process, random: Random, rest: float) -> None:
    victim.mute_until = world.now + min(rest, random.choice((0.2, 1.8, 3.0)) * random.uniform(0.8, 1.2))


def _cut_off(world: World, victim: Process, random: Random, rest: float) -> None:
    seconds = min(rest, random.choice((0.2, 1.8, 4.0)) * random.uniform(0.8, 1.2))
    victim.deaf_until = victim.mute_until = world.now + seconds


def _unsteady(world: World, victim: Process, random: Random, rest: float) -> None:
    for _ in range(random.randint(1, 8)):
        at = world.now + random.uniform(0.0, min(rest, 4.0))
        world.at(at, partial(setattr, victim, "deaf_until", at + min(rest, random.uniform(0.0, 0.6))))


def _claim(world: World, victim: Process, random: Random, rest: float) -> None:
    """One that was long under way, of some of what it knows."""
    known = tuple(victim.works)
    named = known if len(known) == 1 else random.sample(known, random.randint(1, len(known)))
    world.append(victim, Claim(victim.name, tuple(named)))


def _backlog(world: World, victim: Process, random: Random, rest: float) -> None:
    victim.given(random.choice((1, 10, MANY)))


def _shift(world: World, victim: Process, random: Random, rest: float) -> None:
    """Partitions change hands."""
    for service, work in victim.works.items():
        moved, work.backlog = work.backlog, 0
        those = [process for process in world.processes if service in process.works]
        random.choice(those).works[service].given(moved)


FAULTS: dict[str, Fault] = {
    "join": _join,
    "kill": _kill,
    "stop": _stop,
    "freeze": _freeze,
    "freeze in a send": _freeze_in_a_send,
    "away": _away,
    "slow": _slow,
    "deaf": _deaf,
    "mute": _mute,
    "claim": _claim,
    "backlog": _backlog,
    "cut off": _cut_off,
    "unsteady": _unsteady,
    "shift": _shift,
}
