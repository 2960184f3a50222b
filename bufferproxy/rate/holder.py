"""A worker's side: what it may send now, and when it reports."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bufferproxy.policy.bucket import TokenBucket
from bufferproxy.rate.ledger import TTL
from bufferproxy.rate.records import Ask, Grant, Release, Report, Share

EVERY = 0.25
"""Seconds between reports of who has backlog, a share or something in flight."""

IDLE_EVERY = 1.0
"""Seconds between reports of who has nothing."""

GAP = 0.02
"""Seconds between reports at least, but for those that somebody waits for."""

NOTHING = Share(0.0, 0, 0, 0)


class Want(NamedTuple):
    """What a worker has of one service now; `outcomes` since the last report."""

    backlog: int
    partitions: int
    in_flight: int
    outcomes: Mapping[str, float] = {}


NO_WANT = Want(0, 0, 0)


class Lease:
    """The right to send to one service, asked right before each send. In place of a TokenBucket.

    Nothing is gained when a share changes: the bucket earns at the old rate up to then, keeps that as far as
    the new capacity goes, and earns at the new rate from then on. One that begins, after none or after one
    that had run out, begins empty.
    """

    def __init__(self, now: float) -> None:
        self.share = NOTHING
        self.until = -math.inf
        self.floor = 0
        self.ceiling = 0.0
        self.regime: Mapping[str, Any] = {}
        """What the leader last said of the service as a whole."""
        self.sends = 0
        """Since it began."""
        self.told: Callable[[], None] = _nothing
        """Called with the last send of a turn: others wait for the next one."""
        self._out = 0
        """Tokens that were taken, and of which is not known yet what becomes of them."""
        self._bucket = TokenBucket(0.0, 0.0, now)

    def holds(self, now: float) -> bool:
        return now < self.until and self.share.tokens > 0 and not self.over

    @property
    def over(self) -> bool:
        """It was a turn, and has been used up."""
        return 0 < self.share.turn <= self.sends

    @property
    def rate(self) -> float:
        """Of the last share, though it may have run out."""
        return self.share.rate

    def rate_at(self, now: float) -> float:
        return self.share.rate if now < self.until else 0.0

    def concurrency(self, now: float) -> int:
        return self.share.concurrency if now < self.until else 0

    def take(self, now: float) -> float:
        """Take a token and return 0.0: send at once. Or the seconds until there is one; inf: not before the
        share changes."""
        if not self.holds(now):
            return math.inf
        if 0 < self.share.turn <= self.sends + self._out:
            return math.inf
        wait = self._bucket.take(now)
        if wait == 0.0:
            self._out += 1
        elif now + wait >= self.until:
            return math.inf
        return wait

    def ahead(self, now: float) -> float:
        return self._bucket.ahead(now) if self.holds(now) else math.inf

    def sent(self) -> None:
        """What a token was taken for is sent now."""
        self._out -= 1
        self.sends += 1
        if self.over:
            self.told()

    def give_back(self) -> None:
        """A token was taken and nothing will be sent (TokenBucket.give_back): a turn is no shorter for it."""
        self._out -= 1
        self._bucket.give_back()

    def lapse(self) -> None:
        """A token was taken, and its moment has passed: it is lost, and a turn is no shorter for it."""
        self._out -= 1

    def unsent(self) -> None:
        """It could not be sent after all. The turn may be somebody else's by now."""
        self._bucket.give_back()

    def change(self, share: Share, until: float, now: float) -> bool:
        """True when there is less of anything, so that the leader waits to hear of it."""
        if share.report < self.floor or now >= until:
            share = NOTHING
        before = self.share if now < self.until else NOTHING
        if before.tokens == 0:
            self.sends = 0
            self._bucket.empty(now)
        self._bucket.change(share.rate, share.tokens, now)
        self.share, self.until = share, until
        return any(new < old for new, old in zip(share[:3], before[:3], strict=True))

    def give_up(self, floor: int, now: float) -> None:
        """Shares that quote a report older than `floor` count no more."""
        self.floor = floor
        self.share, self.until = NOTHING, -math.inf
        self._bucket.empty(now)


def _nothing() -> None: ...


class Holder:
    def __init__(self, worker: str, now: float) -> None:
        self.worker = worker
        self.leases: dict[str, Lease] = {}
        self._seen = -1
        self._number = 0
        self._sent_at: dict[int, float] = {}
        self._last_at = now - IDLE_EVERY
        self._awaited = False
        """Somebody waits for a report: something was taken from us."""
        self._told: dict[str, Want] = {}
        self._due_at = now

    def lease(self, service: str, now: float) -> Lease:
        return self.leases.get(service) or self.leases.setdefault(service, Lease(now))

    def read(self, offset: int, grant: Grant | None, now: float) -> None:
        """The log has been read up to `offset`; a grant that counts is applied at once."""
        self._seen = offset
        if grant is None:
            return
        for service, terms in grant.services.items():
            if service not in self.leases and self.worker not in terms.shares:
                continue  # it is served by others
            share = terms.shares.get(self.worker, NOTHING)
            lease = self.lease(service, now)
            lease.ceiling, lease.regime = terms.ceiling, terms.regime
            if lease.change(share, self.until(share, now), now):
                self._awaited = True

    @property
    def seen(self) -> int:
        """Up to where the log has been read; -1: nothing has been."""
        return self._seen

    def until(self, share: Share, now: float) -> float:
        """When it runs out: TTL after the report that it quotes was sent."""
        return self._sent_at.get(share.report, -math.inf) + TTL

    def report(self, wants: Mapping[str, Want], now: float) -> Report | None:
        """A report to append now, if one is due. Before that, turns that are over are given up."""
        for service, lease in self.leases.items():
            left = wants.get(service, NO_WANT).backlog
            if lease.share.turn and now < lease.until and (lease.over or not left):
                lease.give_up(self._number + 1, now)
                self._awaited = True
        self._due_at = self._when_due(wants, now)
        if now < self._due_at:
            return None
        self._number += 1
        self._sent_at[self._number] = now
        for number in [number for number, at in self._sent_at.items() if now > at + TTL]:
            del self._sent_at[number]
        self._last_at, self._awaited, self._told = now, False, dict(wants)
        self._due_at = self._when_due(wants, now)
        asks = {}
        for service in wants.keys() | self.leases.keys():
            want, floor = wants.get(service, NO_WANT), self.lease(service, now).floor
            if want != NO_WANT or floor:
                asks[service] = Ask(*want[:3], floor, want.outcomes)
        return Report(self.worker, self._number, self._seen, asks)

    def release(self, wants: Mapping[str, Want], now: float) -> Release:
        """The last word; nothing may be sent after this call."""
        for lease in self.leases.values():
            lease.give_up(self._number + 1, now)
        return Release(self.worker, {name: want.in_flight for name, want in wants.items() if want.in_flight})

    @property
    def wake_at(self) -> float:
        """When `report` is due though nothing happens."""
        return self._due_at

    def _when_due(self, wants: Mapping[str, Want], now: float) -> float:
        if self._awaited:
            return now
        if any(self._urgent(service, want, now) for service, want in wants.items()):
            return self._last_at + GAP
        busy = any(want[:3] != (0, 0, 0) for want in wants.values()) or any(
            lease.holds(now) for lease in self.leases.values()
        )
        return self._last_at + (EVERY if busy else IDLE_EVERY)

    def _urgent(self, service: str, want: Want, now: float) -> bool:
        """It has work and no share, and the leader does not know; or has less too much in flight."""
        lease, told = self.lease(service, now), self._told.get(service, NO_WANT)
        if want.backlog and not told.backlog and not lease.holds(now):
            return True
        return told.in_flight > lease.concurrency(now) and want.in_flight < told.in_flight
