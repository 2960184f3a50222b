"""The most that each worker may be acting on, as far as the log tells.

Every replica keeps one, so that any of them can lead at once.

A worker holds what the last grant that it has applied gives it, or any later one. Which it has applied, its
reports say; so after a report only that grant and later ones count, and after silence none does: a share
lasts TTL from the moment when the report that it quotes was *sent*, by the worker's clock, and that was
before anybody read the report. Whoever reads it may therefore write the worker off WRITE_OFF later by its own
clock, which is longer by what two clocks may differ in speed. No moment of one clock is compared with
another's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bufferproxy.policy.bucket import WINDOW
from bufferproxy.rate.records import Ask, Claim, Grant, Read, Release, Report, Share, Terms, Unreadable
from bufferproxy.rate.shares import NOTHING, Part

TTL = 2.0
"""Seconds that a share lasts after its report was sent."""

MARGIN = 0.1
"""Seconds. Clocks that differ in speed by less than MARGIN / TTL (5 %) do no harm."""

WRITE_OFF = TTL + MARGIN

ECHO = WINDOW * (1 + MARGIN / TTL)
"""Seconds for which tokens count on after they were given up: they may have been sent just before."""

NO_ASK = Ask(0, 0, 0)
NO_SHARE = Share(0.0, 0, 0, 0)


class _Given(NamedTuple):
    offset: int
    share: Share
    until: float


class Standing:
    """What the log says of one worker."""

    __slots__ = ("asks", "given", "heard_at", "number", "released", "seen")

    def __init__(self, now: float) -> None:
        self.heard_at = now
        self.number = 0
        self.seen = -1
        self.released = False
        """It has promised to send nothing any more."""
        self.asks: Mapping[str, Ask] = {}
        self.given: dict[str, list[_Given]] = {}

    def ask(self, service: str) -> Ask:
        return self.asks.get(service, NO_ASK)

    def forget_applied(self) -> None:
        """Of what it has applied only the last counts, and that no more if it was given up."""
        for service, given in list(self.given.items()):
            last = max((n for n, one in enumerate(given) if one.offset <= self.seen), default=0)
            floor = self.ask(service).floor
            kept = [one for one in given[last:] if one.share is NO_SHARE or one.share.report >= floor]
            if self.released or all(one.share is NO_SHARE for one in kept):
                del self.given[service]
            else:
                self.given[service] = kept


class Ledger:
    def __init__(self, now: float) -> None:
        """`now` is when reading began, at what was then the end of the log."""
        self.begin(now)
        self._workers: dict[str, Standing] = {}
        self._pending: dict[str, dict[tuple[int, int], tuple[Terms, float]]] = {}
        """By service, and by epoch and number: what was promised and is not in the log yet, until when."""

    def begin(self, now: float) -> None:
        self.whole_at = now + WRITE_OFF
        """From then on nothing counts that was granted before reading began."""

    def read(self, offset: int, record: Read, now: float) -> None:
        """What counts of a record (`Fence.counting`)."""
        match record:
            case Report():
                self._reported(record, now)
            case Grant():
                self._granted(offset, record, now)
            case Claim(_, services):
                for name in services:  # what is not in the log by now comes behind a newer claim
                    self._pending.pop(name, None)
            case Unreadable(_, may_lead=True):
                self._pending.clear()
                self.begin(now)  # it may have granted something that nobody here knows
            case Release(worker, in_flight, _) if worker in self._workers:
                standing = self._workers[worker]
                standing.released = True
                standing.asks = {name: Ask(0, 0, number) for name, number in in_flight.items()}
                standing.forget_applied()
            case _:
                pass

    def promise(self, grant: Grant, now: float) -> None:
        """It is about to be appended, so from now on it may count. If it never comes, what it quotes has been
        read before now, and lasts no longer than any share."""
        for service, terms in grant.services.items():
            place = grant.epochs[service], grant.number
            self._pending.setdefault(service, {})[place] = terms, now + WRITE_OFF

    def alone(self, worker: str, now: float) -> bool:
        """Nobody but `worker` may be acting on anything, or has anything in flight."""
        others = (one for name, one in self.workers(now).items() if name != worker)
        return now >= self.whole_at and all(one.released and not one.asks for one in others)

    def concerned(self, report: Report) -> set[str]:
        """Services of which somebody may hold, or want, something else once `report` is read."""
        before = self._workers.get(report.worker)
        return set(report.asks) if before is None else {*report.asks, *before.asks, *before.given}

    def workers(self, now: float) -> dict[str, Standing]:
        """All that are not written off. Those that released hold nothing any more."""
        self._write_off(now)
        return self._workers

    def held(self, service: str, now: float) -> dict[str, Part]:
        """The most that each worker may be acting on; who holds nothing is not in it."""
        workers = self.workers(now)
        waiting = self._waiting(service, now)
        found = {}
        for name, standing in workers.items():
            ask = standing.ask(service)
            given = []
            if not standing.released:
                given = [one.share for one in standing.given.get(service, ()) if now < one.until]
                given += [shares[name] for shares in waiting if name in shares]
            part = self.most(given, ask)
            if part != NOTHING:
                found[name] = part
        return found

    def most(self, given: Iterable[Share], ask: Ask) -> Part:
        """Any of these may be what it acts on. What is in flight is in flight."""
        rate, tokens, flights = 0.0, 0, ask.in_flight
        for share in given:
            if share.report >= ask.floor:
                rate, tokens = max(rate, share.rate), max(tokens, share.tokens)
                flights = max(flights, share.concurrency)
        return Part(rate, tokens, flights)

    def _waiting(self, service: str, now: float) -> list[Mapping[str, Share]]:
        """Shares that were promised and may come yet."""
        pending = self._pending.get(service)
        if not pending:
            return []
        for place in [place for place, (_, until) in pending.items() if now >= until]:
            del pending[place]
        return [terms.shares for terms, _ in pending.values()]

    def _write_off(self, now: float) -> None:
        for name in [name for name, one in self._workers.items() if now >= one.heard_at + WRITE_OFF]:
            del self._workers[name]

    def _reported(self, report: Report, now: float) -> None:
        standing = self._workers.setdefault(report.worker, Standing(now))
        if report.number <= standing.number:
            return  # overtaken
        standing.heard_at, standing.number, standing.seen = now, report.number, report.seen
        floors = {name: ask.floor for name, ask in standing.asks.items() if ask.floor}
        standing.asks = {name: NO_ASK._replace(floor=floor) for name, floor in floors.items()} | dict(
            report.asks
        )
        standing.forget_applied()

    def _granted(self, offset: int, grant: Grant, now: float) -> None:
        # Who does not lead never asks for `workers`. It forgets them later than that: a leader that has read
        # less may still name them, and who is named and not known would seem to be alive.
        self._write_off(now - WRITE_OFF)
        for service, terms in grant.services.items():
            self._pending.get(service, {}).pop((grant.epochs[service], grant.number), None)
            for name in terms.shares:
                # Not heard of before: reading began after its report.
                self._workers.setdefault(name, Standing(now))
            for name, standing in self._workers.items():
                share = terms.shares.get(name)
                if share is not None or service in standing.given:
                    given = standing.given.setdefault(service, [])
                    given.append(_Given(offset, share or NO_SHARE, now + WRITE_OFF))
                    while given[0].until <= now:  # its holder reports, and never that it has read anything
                        del given[0]
