"""Counts what happened, in plain numbers, on the hot path: at most a microsecond an event.

Everything here lives on the event loop's thread: no locks. `metrics.py` copies the numbers at a scrape.
"""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING

from bufferproxy.observe.events import (
    Accepted,
    Attempted,
    DeadLettered,
    Events,
    Finished,
    Held,
    LeasesChanged,
    LogAppended,
    LogOperated,
    LoopLagged,
    Quarantined,
    Redriven,
    Refused,
    Reloaded,
    RetryScheduled,
    TurnedAway,
)
from bufferproxy.observe.labels import (
    DEATHS,
    OPERATIONS,
    OUTCOMES,
    PLANES,
    REFUSALS,
    RESULTS,
    RETRIES,
    THROTTLES,
    UNROUTED,
)
from bufferproxy.observe.tally import Histogram, Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

LAG_SAMPLES = 300
"""The loop's lag is the worst of this many samples: 30 s of the sampler's ten a second."""

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SLOW = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_QUEUED = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
_SIZES = (0.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0)


class ServiceMeters:
    """What happened at one service since this process started."""

    __slots__ = (
        "accept_seconds",
        "accepted",
        "attempts",
        "body_bytes",
        "dead_lettered",
        "delivery_seconds",
        "finished",
        "queue_seconds",
        "redriven",
        "refused",
        "retries",
        "throttled",
    )

    def __init__(self) -> None:
        self.accepted = 0
        self.accept_seconds = Histogram(_FAST)
        self.body_bytes = Histogram(_SIZES)
        self.refused = Tally(REFUSALS)
        self.attempts = Tally(RESULTS)
        self.delivery_seconds = Histogram(_SLOW)
        self.queue_seconds = Histogram(_QUEUED)
        self.finished = Tally(OUTCOMES)
        self.throttled = Tally(THROTTLES)
        self.retries = Tally(RETRIES)
        self.dead_lettered = Tally(DEATHS)
        self.redriven = 0

    def __copy__(self) -> ServiceMeters:
        twin = ServiceMeters.__new__(ServiceMeters)
        for name in self.__slots__:
            setattr(twin, name, copy.copy(getattr(self, name)))
        return twin

    def __repr__(self) -> str:
        return f"<ServiceMeters accepted {self.accepted}, finished {sum(self.finished.values()):g}>"


class Meters:
    """Subscribes to events and counts them. Events of a service that is not configured are not counted."""

    def __init__(self, services: Iterable[str]) -> None:
        self.services: dict[str, ServiceMeters] = {}
        self.configure(services)
        self.unrouted = Tally(UNROUTED)
        self.operations = {name: Histogram(_FAST) for name in OPERATIONS}
        self.operation_errors = Tally(OPERATIONS)
        self.rebalances = 0
        self.turned_away = Tally(PLANES)
        self.lags: deque[float] = deque(maxlen=LAG_SAMPLES)
        self.reload_success = True

    def configure(self, services: Iterable[str]) -> None:
        """These services and no others: new ones start at zero, the numbers of gone ones are dropped."""
        had = self.services
        self.services = {name: had.get(name) or ServiceMeters() for name in services}

    def subscribe(self, events: Events) -> None:
        events.subscribe(Accepted, self._on_accepted)
        events.subscribe(Refused, self._on_refused)
        events.subscribe(Attempted, self._on_attempted)
        events.subscribe(Finished, self._on_finished)
        events.subscribe(RetryScheduled, self._on_retry)
        events.subscribe(DeadLettered, self._on_dead_lettered)
        events.subscribe(Redriven, self._on_redriven)
        events.subscribe(Quarantined, self._on_quarantined)
        events.subscribe(Held, self._on_held)
        events.subscribe(LogOperated, self._on_log_operated)
        events.subscribe(LogAppended, self._on_log_appended)
        events.subscribe(LeasesChanged, self._on_leases_changed)
        events.subscribe(TurnedAway, self._on_turned_away)
        events.subscribe(LoopLagged, self._on_loop_lagged)
        events.subscribe(Reloaded, self._on_reloaded)

    def _on_accepted(self, event: Accepted) -> None:
        service, size, seconds = event
        meters = self.services.get(service)
        if meters is not None:
            meters.accepted += 1
            # Histogram.observe, written out: two calls would be a third of what an acceptance costs here.
            sizes = meters.body_bytes
            sizes.counts[bisect_left(sizes.bounds, size)] += 1
            sizes.total += size
            times = meters.accept_seconds
            times.counts[bisect_left(times.bounds, seconds)] += 1
            times.total += seconds

    def _on_refused(self, event: Refused) -> None:
        if event.service is None:
            self.unrouted.add(event.reason)
        elif (meters := self.services.get(event.service)) is not None:
            meters.refused.add(event.reason)

    def _on_attempted(self, event: Attempted) -> None:
        service, result, seconds, queued = event
        meters = self.services.get(service)
        if meters is not None:
            meters.attempts.add(result)
            times = meters.delivery_seconds
            times.counts[bisect_left(times.bounds, seconds)] += 1
            times.total += seconds
            if queued is not None:
                meters.queue_seconds.observe(queued)

    def _on_finished(self, event: Finished) -> None:
        meters = self.services.get(event.service)
        if meters is not None:
            meters.finished.add(event.outcome)

    def _on_retry(self, event: RetryScheduled) -> None:
        meters = self.services.get(event.service)
        if meters is not None:
            meters.retries.add(event.reason)

    def _on_dead_lettered(self, event: DeadLettered) -> None:
        meters = self.services.get(event.service)
        if meters is not None:
            meters.dead_lettered.add(event.reason)

    def _on_redriven(self, event: Redriven) -> None:
        meters = self.services.get(event.service)
        if meters is not None:
            meters.accepted += 1
            meters.redriven += 1

    def _on_quarantined(self, event: Quarantined) -> None:
        meters = self.services.get(event.service)
        if meters is not None:
            meters.dead_lettered.add("undecodable")

    def _on_held(self, event: Held) -> None:
        meters = self.services.get(event.service)
        if meters is not None:
            meters.throttled.add(event.reason, event.seconds)

    def _on_log_operated(self, event: LogOperated) -> None:
        operation, seconds, error = event
        histogram = self.operations.get(operation)
        if histogram is not None:
            histogram.observe(seconds)
        if error is not None:
            self.operation_errors.add(operation)

    def _on_log_appended(self, event: LogAppended) -> None:
        self.operations["append"].observe_all(event.seconds)

    def _on_leases_changed(self, event: LeasesChanged) -> None:
        self.rebalances += 1

    def _on_turned_away(self, event: TurnedAway) -> None:
        self.turned_away.add(event.plane)

    def _on_loop_lagged(self, event: LoopLagged) -> None:
        self.lags.append(event.seconds)

    def _on_reloaded(self, event: Reloaded) -> None:
        self.reload_success = event.success

    @property
    def worst_lag(self) -> float:
        """The longest the event loop kept somebody waiting lately, in seconds."""
        return max(self.lags, default=0.0)

    def __repr__(self) -> str:
        return f"<Meters of {len(self.services)} services, {self.rebalances} rebalances>"
