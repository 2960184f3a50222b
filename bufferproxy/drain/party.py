"""One service on this replica, as those see it who decide for all replicas: what it wants, what it has met,
and what it obeys."""

from __future__ import annotations

from bufferproxy.clock import Clock
from bufferproxy.drain.pacer import Pacer
from bufferproxy.drain.worker import Worker
from bufferproxy.policy.regime import Regime
from bufferproxy.policy.tally import Tally


class Party:
    def __init__(self, name: str, pacer: Pacer, worker: Worker, clock: Clock) -> None:
        self.name = name
        self._pacer = pacer
        self._worker = worker
        self._clock = clock

    def want(self) -> tuple[int, int, int]:
        """(what could be sent, partitions with something open, attempts in flight)."""
        worker = self._worker
        return worker.deliverable, worker.backlogged, worker.sender.flying

    def counted(self) -> Tally:
        """What came of the attempts since `told`."""
        sender, pacer = self._worker.sender, self._pacer
        tally = sender.tally
        waited = max(pacer.crowded, int(pacer.full))
        tally.in_flight, tally.waited, tally.rest = sender.most, waited, pacer.asked_for
        return tally

    def told(self) -> None:
        """It has been passed on: count anew."""
        sender = self._worker.sender
        sender.tally, sender.most = Tally(self._pacer.regime.era), sender.flying
        self._pacer.crowded = 0

    def obey(self, regime: Regime, concurrency: int, retry_rate: float) -> None:
        """`concurrency` and `retry_rate` (per second) are this replica's parts of what `regime` allows."""
        sender = self._worker.sender
        sender.tally.turn(regime.era)
        if retry_rate != sender.retries.rate:
            sender.retries.change(retry_rate, 1, self._clock.now())
        self._pacer.obey(regime, concurrency)

    def __repr__(self) -> str:
        return f"<Party {self.name} {self._pacer.regime}>"
