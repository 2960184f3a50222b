"""One replica's part in the lease protocol, whole: feed it what the log says, append what it says."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bufferproxy.rate.fence import SILENCE
from bufferproxy.rate.holder import Holder, Want
from bufferproxy.rate.leader import Leader
from bufferproxy.rate.records import Claim, Grant, Read, Release, Said

SPREAD = 0.3
"""Seconds by which replicas differ in that, so that not all claim at once."""


class Replica:
    """`worker` names this life of this process. `jitter` is in [0, 1)."""

    def __init__(self, worker: str, now: float, jitter: float) -> None:
        self.holder = Holder(worker, now)
        self.leader = Leader(worker, now)
        self._patience = SILENCE + SPREAD * jitter
        self._claimed_at: dict[str, float] = {}
        self._worker = worker

    def begin(self, now: float) -> None:
        """Reading begins now, from what is the end of the log: nothing was heard before, and what was granted
        before may be acted on for as long as a share lasts. To be called when that is later than when this
        was made."""
        self.leader.fence.begin(now)
        self.leader.ledger.begin(now)

    def nothing_lasts(self, now: float) -> None:
        """It is proved that nobody acts on anything that was granted before reading began (`past.py`)."""
        self.leader.fence.expect_nobody(now - SPREAD)
        self.leader.ledger.whole_at = min(self.leader.ledger.whole_at, now)

    def read(self, offset: int, record: Read, now: float) -> None:
        counting = self.leader.read(offset, record, now)
        self.holder.read(offset, counting if isinstance(counting, Grant) else None, now)

    def due(self, wants: Mapping[str, Want], now: float) -> list[Said]:
        """What to append now, in this order. Call it after each batch that was read, when `wake_at` has come,
        when the backlog of a service begins or ends, and when a turn is over (`Lease.over`). The outcomes in
        `wants` are told when a Report comes back, and begin anew then."""
        said: list[Said] = []
        report = self.holder.report(wants, now)
        if report is not None:
            said.append(report)
        unled = tuple(name for name in self.leader.services if now >= self._claim_at(name))
        if unled:
            self._claimed_at.update(dict.fromkeys(unled, now))
            said.append(Claim(self._worker, unled))
        said += self.leader.grants(now)
        return said

    def _claim_at(self, service: str) -> float:
        heard_at = self.leader.fence.of(service).heard_at
        return max(heard_at, self._claimed_at.get(service, -math.inf)) + self._patience

    def stop(self, wants: Mapping[str, Want], now: float) -> Release:
        release = self.holder.release(wants, now)
        alone = not release.in_flight and self.leader.ledger.alone(self._worker, now)
        return release._replace(alone_since=self.holder.seen) if alone else release

    @property
    def wake_at(self) -> float:
        claim_at = min(map(self._claim_at, self.leader.services), default=math.inf)
        return min(self.holder.wake_at, claim_at, self.leader.wake_at)
