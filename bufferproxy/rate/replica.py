"""One replica's part in the lease protocol, whole: feed it what the log says, append what it says."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bufferproxy.rate.fence import SILENCE
from bufferproxy.rate.holder import Holder, Want
from bufferproxy.rate.leader import Leader
from bufferproxy.rate.records import Claim, Grant, Read, Release, Said

SPREAD = 0.3
"""Seconds by which replicas differ in that, lest all claim at once."""


class Replica:
    """`worker` names this life of this process. `jitter` is in [0, 1)."""

    def __init__(self, worker: str, now: float, jitter: float) -> None:
        self.holder = Holder(worker, now)
        self.leader = Leader(worker, now)
        self._patience = SILENCE + SPREAD * jitter
        self._claimed_at = -math.inf
        self._worker = worker

    def read(self, offset: int, record: Read, now: float) -> None:
        counts = self.leader.read(offset, record, now)
        self.holder.read(offset, record if counts and isinstance(record, Grant) else None, now)

    def due(self, wants: Mapping[str, Want], now: float) -> list[Said]:
        """What to append now, in this order. Call it after each batch that was read, when `wake_at` has come,
        when the backlog of a service begins or ends, and when a turn is over (`Lease.over`). The outcomes in
        `wants` are told when a Report comes back, and begin anew then."""
        said: list[Said] = []
        report = self.holder.report(wants, now)
        if report is not None:
            said.append(report)
        if now >= max(self.leader.fence.heard_at, self._claimed_at) + self._patience:
            self._claimed_at = now
            said.append(Claim(self._worker))
        said += self.leader.grants(now)
        return said

    def stop(self, wants: Mapping[str, Want], now: float) -> Release:
        return self.holder.release(wants, now)

    @property
    def wake_at(self) -> float:
        claim_at = max(self.leader.fence.heard_at, self._claimed_at) + self._patience
        return min(self.holder.wake_at, claim_at, self.leader.wake_at)
