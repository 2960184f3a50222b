"""Whose grants count: for each service, those of the newest claim before them in the log that names it. All
readers find the same.

A replica that began to read later has not seen the newest claim. It takes the highest epoch that it has met:
a grant of an older leader can then seem to count, but it cannot name this replica, because whoever quotes one
of its reports has read the log up to there, and with it every claim that this replica has not seen.
"""

from __future__ import annotations

from typing import NamedTuple

from bufferproxy.rate.records import Claim, Grant, Read, Release, Unreadable

NOBODY = -1

SILENCE = 1.5
"""Seconds without a word of a service's leader after which a replica that knows the service claims it."""


class Leadership(NamedTuple):
    """Of one service. `leader` is empty where it is not known. By this replica's clock: when a leader was
    last heard, and when one last said who may do what."""

    epoch: int
    leader: str
    heard_at: float
    granted_at: float


class Fence:
    __slots__ = ("_services", "_unknown")

    def __init__(self, now: float) -> None:
        self._services: dict[str, Leadership] = {}
        self.begin(now)

    def begin(self, now: float) -> None:
        self._unknown = Leadership(NOBODY, "", now, now)
        """Of every service that nobody has named yet."""

    def expect_nobody(self, now: float) -> None:
        """Whoever is not heard by now need not be waited for."""
        self._unknown = self._unknown._replace(heard_at=now - SILENCE)

    def of(self, service: str) -> Leadership:
        return self._services.get(service, self._unknown)

    def counting(self, offset: int, record: Read, now: float) -> Read | None:
        """Take note of what the log says at `offset`. Returns what of it counts: of a grant the services that
        its leader leads, None when there are none."""
        match record:
            case Claim(worker, services):
                for name in services:
                    self._services[name] = Leadership(offset, worker, now, self.of(name).granted_at)
            case Grant():
                return self._grant(record, now)
            case Unreadable(_, may_lead=True):
                # Nobody of ours leads any more: the ceiling first.
                self._unknown = self._unknown._replace(epoch=offset, leader="")
                for name, found in self._services.items():
                    self._services[name] = found._replace(epoch=offset, leader="")
            case Release(worker):
                for name, found in self._services.items():
                    if found.leader == worker:
                        self._services[name] = found._replace(leader="", heard_at=now - SILENCE)
            case _:
                pass
        return record

    def _grant(self, grant: Grant, now: float) -> Grant | None:
        counting = {}
        for name, epoch in grant.epochs.items():
            known = self.of(name)
            if epoch >= known.epoch:
                counting[name] = epoch
                leader = known.leader if epoch == known.epoch else ""
                granted_at = now if name in grant.services else known.granted_at
                self._services[name] = Leadership(epoch, leader, now, granted_at)
        if len(counting) == len(grant.epochs):
            return grant if counting else None
        terms = {name: terms for name, terms in grant.services.items() if name in counting}
        return grant._replace(epochs=counting, services=terms) if counting else None

    def __repr__(self) -> str:
        return f"<Fence {self._services}>"
