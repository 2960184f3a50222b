"""A service, replicas that drain into it under one congestion controller, and a clock that jumps.

No asyncio, no threads: a heap of events, and everything random comes from one seed. The service has so many
slots and a queue before them, so its latency grows with the load; what else it does wrong is a setting.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from bufferproxy.policy.backoff import backoff
from bufferproxy.policy.breaker import forgives
from bufferproxy.policy.bucket import TokenBucket
from bufferproxy.policy.budget import stretched
from bufferproxy.policy.congestion import Congestion, Settings
from bufferproxy.policy.regime import Regime
from bufferproxy.policy.rest import Rest
from bufferproxy.policy.tally import Ending, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

TICK = 0.25
ATTEMPTS = 8


def never(_now: float) -> bool:
    return False


@dataclass
class Service:
    """`base(now)`: seconds of work a request takes in one of `slots`. `refuse_above`: attempts in it,
    more get 503 with `Retry-After: 5`. `failing(now)`: the share that it answers with 500."""

    slots: int = 10
    base: Callable[[float], float] = lambda _: 0.02
    refuse_above: float = float("inf")
    failing: Callable[[float], float] = lambda _: 0.0
    down: Callable[[float], bool] = never
    timeout: float = 30.0
    inside: int = 0
    busy_until: list[float] = field(default_factory=list)

    def begin(self, now: float, rng: random.Random) -> tuple[Ending, float]:
        """How the attempt will end, and the seconds until then."""
        if self.inside >= self.refuse_above:
            return Ending.REFUSED, 0.002
        if rng.random() < self.failing(now):
            return Ending.FAILED, 0.005
        free = heapq.heappop(self.busy_until) if len(self.busy_until) >= self.slots else now
        finish = max(now, free) + self.base(now) * rng.uniform(0.6, 1.4)
        heapq.heappush(self.busy_until, finish)
        if finish - now > self.timeout:
            return Ending.TIMEOUT, self.timeout
        return Ending.SERVED, finish - now


@dataclass
class Request:
    sends: int = 0
    attempts: int = 0


@dataclass
class Seen:
    """What is judged afterwards."""

    offered: int = 0
    sent: list[float] = field(default_factory=list)
    served: list[float] = field(default_factory=list)
    burnt: list[float] = field(default_factory=list)
    """When a request had an attempt used up by a failure."""
    connects: int = 0
    retries: int = 0
    dead: int = 0
    most_attempts: int = 0
    regimes: list[tuple[float, Regime]] = field(default_factory=list)

    def rate(self, of: list[float], start: float, end: float) -> float:
        return sum(start <= at < end for at in of) / (end - start)


class Replica:
    def __init__(self, world: World) -> None:
        self.world = world
        self.tally = Tally()
        self.rest = Rest()
        self.bucket = TokenBucket(0.0, 1, 0.0)
        self.retry_tokens = 0.0
        self.flying = 0
        self.peak = 0
        self.room = 0
        self.wakes_at = 0.0
        self.regime: Regime | None = None

    def obey(self, regime: Regime, now: float) -> None:
        parts = self.world.replicas_count
        if regime.rate == 0.0 or (self.regime is not None and regime.era != self.regime.era):
            self.bucket.empty(now)
        self.regime = regime
        self.bucket.change(regime.rate / parts, 1, now)
        self.room = max(1, regime.concurrency // parts) if regime.concurrency else 0
        earned = self.retry_tokens + regime.retry_rate / parts * TICK
        self.retry_tokens = min(earned, max(1.0, regime.retry_rate))
        self.tally.turn(regime.era)
        self.pump()

    def report(self, now: float) -> Tally:
        tally, self.tally = self.tally, Tally(self.tally.era)
        tally.in_flight, self.peak = self.peak, self.flying
        tally.rest = self.rest.remaining(now) if self.rest.reason == "retry_after" else 0.0
        return Tally.decode(tally.encode())

    def pump(self) -> None:
        world = self.world
        while self.regime is not None and self.regime.rate:
            now = world.now
            request = world.next_for(self.retry_tokens >= 1.0)
            if request is None:
                return
            if self.flying >= self.room:
                self.tally.waited += 1
                return
            wait = self.rest.wait(now)
            if wait == 0.0 and (wait := self.bucket.take(now)) > 0.0:
                self.rest.forgo()
            if wait > 0.0:
                if wait < TICK and self.wakes_at <= now:
                    self.wakes_at = now + wait + 1e-6
                    world.later(wait + 1e-6, self.pump)
                return
            self.bucket.sent()
            self.send(world.take(request), now)

    def send(self, request: Request, now: float) -> None:
        world, service = self.world, self.world.service
        if service.down(now):
            world.seen.connects += 1
            self.rest.unreachable(now, world.rng.random(), "refused")
            self.tally.ended(Ending.CONNECT, 0.0, self.tally.era)
            world.fresh.appendleft(request)
            return
        self.rest.reached()
        again = request.sends > 0
        era = self.tally.sent(again=again)
        self.retry_tokens -= again
        world.seen.retries += again
        request.sends += 1
        world.seen.sent.append(now)
        self.flying += 1
        self.peak = max(self.peak, self.flying)
        ending, seconds = service.begin(now, world.rng)
        service.inside += 1
        world.later(seconds, lambda: self.ended(request, ending, seconds, era))

    def ended(self, request: Request, ending: Ending, seconds: float, era: int) -> None:
        world, now = self.world, self.world.now
        world.service.inside -= 1
        self.flying -= 1
        self.tally.ended(ending, seconds, era)
        assert self.regime is not None
        if ending is Ending.SERVED:
            world.seen.served.append(now)
        elif ending is Ending.REFUSED:
            self.rest.asked(now, 5.0, "503")
            world.fresh.appendleft(request)
        else:
            if not forgives(self.regime.forgiving, sends=request.sends, attempts=request.attempts):
                request.attempts += 1
                world.seen.burnt.append(now)
            self.again(request)
        self.pump()

    def again(self, request: Request) -> None:
        world = self.world
        world.seen.most_attempts = max(world.seen.most_attempts, request.attempts)
        if request.attempts >= ATTEMPTS:
            world.seen.dead += 1
            return
        attempt, chance = max(1, request.attempts), world.rng.random()
        delay = backoff(attempt, first=1.0, max=300.0, jitter="full", random=chance)
        assert self.regime is not None
        delay = stretched(delay, self.regime.retry_wait, world.rng.random())
        self.tally.planned += 1
        world.plan(delay, request)


class World:
    """`offered(now)`: requests per second that callers bring."""

    def __init__(
        self,
        service: Service,
        settings: Settings,
        *,
        seed: int,
        offered: Callable[[float], float],
        replicas: int = 1,
        lag: float = 0.0,
    ) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.service = service
        self.offered = offered
        self.lag = lag
        self.now = 0.0
        self.seen = Seen()
        self.fresh: deque[Request] = deque()
        self.due: list[tuple[float, int, Request]] = []
        self.controller = Congestion(settings, 0.0)
        self.replicas_count = replicas
        self.replicas = [Replica(self) for _ in range(replicas)]
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._number = 0
        self._owed = 0.0
        self._turns = 0

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.now + seconds, self._number, call))

    def plan(self, delay: float, request: Request) -> None:
        self._number += 1
        heapq.heappush(self.due, (self.now + delay, self._number, request))

    def next_for(self, may_retry: bool) -> Request | None:
        """The request that would go next: due retries in turn with fresh ones."""
        retry = self.due[0][2] if may_retry and self.due and self.due[0][0] <= self.now else None
        if retry is not None and (not self.fresh or self._turns % 2):
            return retry
        # At the front lie those that were sent before and put back: as retries they need the budget too.
        if self.fresh and (may_retry or not self.fresh[0].sends):
            return self.fresh[0]
        for request in self.fresh:
            if not request.sends:
                return request
        return retry

    def take(self, request: Request) -> Request:
        self._turns += 1
        if self.due and self.due[0][2] is request:
            heapq.heappop(self.due)
        elif self.fresh[0] is request:
            self.fresh.popleft()
        else:
            self.fresh.remove(request)
        return request

    def run(self, until: float) -> Seen:
        self._tick(until)
        while self._events and self._events[0][0] <= until:
            self.now, _, call = heapq.heappop(self._events)
            call()
        self.now = until
        return self.seen

    def _tick(self, until: float) -> None:
        self._owed += self.offered(self.now) * TICK
        whole = int(self._owed)
        self._owed -= whole
        self.seen.offered += whole
        self.fresh.extend(Request() for _ in range(whole))
        total = Tally(self.replicas[0].tally.era)
        for replica in self.replicas:
            total.add(replica.report(self.now))
        self.later(self.lag, lambda: self._lead(total))
        if self.now + TICK <= until:
            self.later(TICK, lambda: self._tick(until))

    def _lead(self, total: Tally) -> None:
        self.controller.feed(total, self.now, self.rng.random())
        regime = self.controller.regime(self.now)
        self.seen.regimes.append((self.now, regime))
        told = Regime.decode(regime.encode())
        for replica in self.replicas:
            self.later(self.lag, lambda replica=replica: replica.obey(told, self.now))


@pytest.fixture
def world() -> type[World]:
    return World


@pytest.fixture
def service() -> type[Service]:
    return Service


@pytest.fixture(autouse=True)
def say_the_seed(request: pytest.FixtureRequest) -> None:
    """A seed is a parameter of each test, so the failing one is in its name."""
    assert "seed" in request.fixturenames
