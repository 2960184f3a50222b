"""When the next request may go: the regime, rests, and the rate ceiling, in one queue for one service.

A delivery passes twice: `may_connect` (not while the service is paused or rests) and, with its connection
ready, `turn` (a token). Nothing else stands between the token and the write, so what is counted is what is
sent.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

from bufferproxy.clock import LOOK, Clock, Timer
from bufferproxy.observe.events import BreakerTurned, Emit, Held, Rested
from bufferproxy.policy.regime import Regime
from bufferproxy.policy.rest import Rest

TICK = 0.001
"""Seconds. uvloop rounds timers to these, and one that rings a moment too early would be set anew again and
again until the moment has passed. Half of what the bucket may catch up (`policy/bucket.py`)."""

UNBOUND = Regime(math.inf, "ceiling", 1 << 30, "concurrency", "ceiling")
"""Until somebody governs."""

LATE = 0.01
"""Seconds after which a token that was taken is lost: sent then, it would come on top of what was earned
since. It is the jitter that the promise allows."""

NEAR = 1.0
"""Seconds of rate for which connections are made ready ahead: one that waits for its token for long is closed
by the service, or not trusted any more."""


AHEAD = 2.0
"""Seconds before its token at which a connection is made, where tokens are rare. One that is older than four
seconds is not trusted (`http1/pool.py`): who has to make another one then has lost its turn."""


class Bucket(Protocol):
    """Where the tokens come from: a TokenBucket, or with other replicas a Lease."""

    @property
    def rate(self) -> float: ...

    def rate_at(self, now: float) -> float: ...

    def take(self, now: float) -> float: ...

    def ahead(self, now: float) -> float: ...

    def sent(self) -> None: ...

    def unsent(self) -> None: ...

    def give_back(self) -> None: ...

    def lapse(self) -> None: ...

    def holds(self, now: float) -> bool: ...


class Pacer:
    """`bucket` is this replica's share of the rate. Whoever governs the service changes it, and tells
    `obey`."""

    def __init__(self, service: str, bucket: Bucket, clock: Clock, emit: Emit) -> None:
        self._service = service
        self._bucket = bucket
        self._clock = clock
        self._emit = emit
        self._rest = Rest()
        self.regime = UNBOUND
        """What holds for all replicas together."""
        self.concurrency = UNBOUND.concurrency
        """Attempts that this replica may have in flight."""
        self.busy = 0
        """Deliveries between `may_connect` and `landed`."""
        self.crowded = 0
        """How often somebody was held back since `busy` was at its limit."""
        self.behind: Callable[[], int] = lambda: 0
        """How many could be sent and are in nobody's hands yet."""
        self._looked_at = clock.now()
        self._near = 0
        """Deliveries between `may_connect` and `leave`."""
        self._connecting = _Queue(self._before_connect, self._turn_back, clock)
        self._sending = _Queue(self._before_send, bucket.give_back, clock, bucket.lapse)
        self.sent = bucket.sent

    # --- what deliveries wait for ---

    def connects_now(self) -> bool:
        """True is as good as `may_connect`: `leave` must follow. False: wait there."""
        return self._connecting.lets_through()

    def turns_now(self) -> bool:
        """True is as good as `turn`: a token is taken. False: wait there."""
        return self._sending.lets_through()

    async def may_connect(self) -> None:
        """Returns when the service may be bothered and a token is near. `leave` and `landed` must follow."""
        await self._connecting.wait()

    async def turn(self) -> None:
        """Returns with a token taken. `sent` and send now, or `give_back`."""
        await self._sending.wait()

    async def still_turn(self, since: float) -> None:
        """Something was awaited with a token that was taken at `since`: if it is late, waits for another."""
        if self._clock.now() - since > LATE:
            self._bucket.lapse()
            await self._sending.wait()

    def holds(self) -> bool:
        """Whether the right to send, of which a token is a part, has not run out."""
        return self._bucket.holds(self._clock.now())

    def leave(self) -> None:
        """Has its turn, or gave up."""
        self._near -= 1
        self._connecting.pump()

    def landed(self) -> None:
        """The attempt is over, or came to nothing."""
        self.busy -= 1
        self._connecting.pump()

    def unsent(self) -> None:
        """After `sent`: it could not be sent, in the same turn of the loop."""
        self._bucket.unsent()
        self._sending.pump()

    def give_back(self) -> None:
        """Nothing was sent, in the same turn of the loop: another may have the token."""
        self._bucket.give_back()
        self._sending.pump()

    # --- what is learnt on the way ---

    def unreachable(self, detail: str) -> None:
        now = self._clock.now()
        resting = self._rest.remaining(now) > 0
        seconds = self._rest.unreachable(now, self._clock.random(), detail)
        if not resting:
            self._emit(Rested(self._service, "connect", seconds, detail))
        self._again()

    def asked(self, seconds: float, detail: str) -> None:
        now = self._clock.now()
        if seconds > self._rest.remaining(now):
            self._emit(Rested(self._service, "retry_after", seconds, detail))
        self._rest.asked(now, seconds, detail)
        self._again()

    def reached(self) -> None:
        if self._rest.troubled:
            self._rest.reached()
            self._connecting.pump()

    # --- what is decided for all replicas ---

    def obey(self, regime: Regime, concurrency: int) -> None:
        """The bucket has been changed, or the service is seen otherwise. `concurrency` is this replica's."""
        if regime.breaker is not self.regime.breaker:
            shadow = regime.forgiving is not regime.breaker
            self._emit(BreakerTurned(self._service, regime.breaker.value, regime.left, shadow))
        self.regime, self.concurrency = regime, concurrency
        self._again()

    @property
    def paused(self) -> bool:
        """By an operator."""
        return self.regime.rate == 0.0 and self.regime.rate_reason == "paused"

    @property
    def ceiling(self) -> float:
        """Per second, this replica's share of the rate: 0 when it has run out."""
        return self._bucket.rate_at(self._clock.now())

    @property
    def rate(self) -> float:
        """Per second, what may be sent now by this replica: 0 while paused or resting."""
        return 0.0 if self.resting else self.ceiling

    @property
    def asked_for(self) -> float:
        """Seconds of rest that the service still wants; what a failed connect costs is not among them."""
        left = self._rest.remaining(self._clock.now())
        return left if self._rest.reason == "retry_after" else 0.0

    @property
    def resting(self) -> tuple[str, float, str] | None:
        """(reason, seconds left, detail), or None."""
        left = self._rest.remaining(self._clock.now())
        if left:
            return (self._rest.reason, left, self._rest.detail)
        regime = self.regime
        return (regime.rate_reason, regime.left, "") if regime.rate == 0.0 else None

    @property
    def full(self) -> bool:
        """As many are in flight as may be, and there is more."""
        return self.busy >= self.concurrency and self.behind() > 0

    def held(self) -> list[Held]:
        """Since the last call: how long somebody was held back, by reason. Who waits in both queues for one
        reason waits at the same time, so the longer of the two counts. That the concurrency is used up is
        seen only now and then: who deliver are no more than that, so nobody stands in a queue for it."""
        now, before = self._clock.now(), self._looked_at
        self._looked_at = now
        longest = {self.regime.concurrency_reason: now - before} if self.full else {}
        for queue in (self._connecting, self._sending):
            for reason, seconds in queue.held().items():
                longest[reason] = max(seconds, longest.get(reason, 0.0))
        return [Held(self._service, reason, seconds) for reason, seconds in longest.items() if seconds]

    def _again(self) -> None:
        self._connecting.pump()
        self._sending.pump()

    def _before_connect(self, now: float) -> tuple[float, str]:
        regime = self.regime
        if regime.rate == 0.0:
            return math.inf, regime.rate_reason
        if self.busy >= self.concurrency:
            self.crowded += 1
            return math.inf, regime.concurrency_reason
        rate = self._bucket.rate
        if self._near and self._near >= rate * NEAR:
            return math.inf, regime.rate_reason
        if rate < 1 / AHEAD and AHEAD < (ahead := self._bucket.ahead(now)) < math.inf:
            return ahead - AHEAD, regime.rate_reason
        wait = self._rest.wait(now)
        if wait <= 0.0:
            self._near += 1
            self.busy += 1
        return wait, "retry_after"

    def _turn_back(self) -> None:
        """It may connect, and was cancelled in the same moment."""
        self._near -= 1
        self.busy -= 1
        self._rest.forgo()

    def _before_send(self, now: float) -> tuple[float, str]:
        left = self._rest.remaining(now)
        if left:
            return left, "retry_after"
        if self.regime.rate == 0.0:
            return math.inf, self.regime.rate_reason
        return self._bucket.take(now), self.regime.rate_reason

    def __repr__(self) -> str:
        return f"<Pacer {self._bucket!r} {self._rest!r} {self.regime.rate_reason}>"


class _Queue:
    """Who waits for a rule, first come first served: one timer, no polling.

    `rule(now)` returns (0.0, _) and grants once, or (seconds to wait, why); `forgo` takes back a grant that
    nobody makes use of. With `lapse` a grant is good for LATE seconds: whoever comes for it later (the
    process was frozen, or the loop is busy) tells `lapse` and waits at the front again. While somebody waits,
    either the timer runs or an event that changes the rule will `pump`.
    """

    def __init__(
        self,
        rule: Callable[[float], tuple[float, str]],
        forgo: Callable[[], None],
        clock: Clock,
        lapse: Callable[[], None] | None = None,
    ) -> None:
        self._rule = rule
        self._forgo = forgo
        self._clock = clock
        self._lapse = lapse
        self._waiting: deque[asyncio.Future[float]] = deque()
        """The result is when it was granted."""
        self._timer: Timer | None = None
        self._timer_at = math.inf
        self._since = 0.0
        self._why: str | None = None
        self._held: dict[str, float] = {}

    def lets_through(self) -> bool:
        """Nobody waits, and the rule grants."""
        return not self._waiting and self._grants(self._clock.now())

    async def wait(self) -> None:
        if self.lets_through():
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        while self._late(await self._turn_of(place)):
            place = asyncio.get_running_loop().create_future()
            self._waiting.appendleft(place)
            self.pump()

    async def _turn_of(self, place: asyncio.Future[float]) -> float:
        try:
            return await place
        except asyncio.CancelledError:
            if not place.cancelled():
                self._forgo()  # it was our turn
            self.pump()
            raise

    def _late(self, granted: float) -> bool:
        if self._lapse is None or self._clock.now() - granted <= LATE:
            return False
        self._lapse()
        return True

    def pump(self) -> None:
        """Let through whoever may go now, and wake up again when the next may."""
        waiting = self._waiting
        if not waiting and self._why is None:
            return
        now = self._clock.now()
        while waiting:
            if waiting[0].done():
                waiting.popleft()  # cancelled: before the rule is asked, lest its grant is lost
            elif self._grants(now):
                waiting.popleft().set_result(now)
            else:
                return
        self._note(None, now)

    def _grants(self, now: float) -> bool:
        wait, why = self._rule(now)
        if wait <= 0.0:
            if self._why is not None:
                self._note(None, now)
            return True
        self._note(why, now)
        if wait != math.inf:
            self._wake_at(now + wait, now)
        return False

    def _wake_at(self, at: float, now: float) -> None:
        if self._timer is not None:
            if now < self._timer_at <= at + TICK:
                return
            self._timer.cancel()
        wait = min(LOOK, max(1, math.ceil((at - now) / TICK)) * TICK)
        self._timer_at = now + wait
        self._timer = self._clock.call_later(wait, self._woken)

    def _woken(self) -> None:
        self._timer, self._timer_at = None, math.inf
        self.pump()

    def _note(self, why: str | None, now: float) -> None:
        """Keep the account of who is held back by what."""
        if self._why is not None:
            self._held[self._why] = self._held.get(self._why, 0.0) + now - self._since
        self._why, self._since = why, now

    def held(self) -> dict[str, float]:
        """Seconds by reason, since the last call."""
        self._note(self._why, self._clock.now())
        held, self._held = self._held, {}
        return held
