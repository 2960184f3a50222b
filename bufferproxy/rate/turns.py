"""Who shall hold a share of one service, and how much: a leader's memory of whose turn it was.

While more workers have backlog than may hold a share at once, they take turns: each gets its fair part of
what can be sent in a CYCLE, as a number of sends, and gives its share up by itself after these or when
nothing is left to send. Where two or more may hold, the one with the most backlog (the anchor) keeps its
place, lest rate is left unused while the others pass theirs on; it gets its fair part as a rate instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from bufferproxy.rate.ledger import Standing
from bufferproxy.rate.records import Ask
from bufferproxy.rate.shares import Ceiling, Need, Part, fair, most_holders, targets

CYCLE = 1.5
"""Seconds in which all who wait have had their turn. With what handing over takes it stays below 2."""

HORIZON = 1.0
"""Seconds in which a holder may want to send all of its backlog."""

LEAST = 0.05
"""The part of the rate that a holder can always use, so that it is not without when a request comes."""

PATIENCE = 0.5
"""Seconds beyond twice its length after which a turn is over though its holder does not say so."""

IDLE = 1.0
"""Seconds after which a holder without backlog makes room when others could use its rate."""


class Member:
    __slots__ = ("began", "entered", "turn", "wanted_at")

    def __init__(self, entered: int, now: float) -> None:
        self.entered = entered
        """Its newest report then: when it gives up a share that quotes this one or a later one, it leaves."""
        self.began: float | None = None
        self.turn = 0
        self.wanted_at = now


class Place(NamedTuple):
    part: Part
    turn: int


class Turns:
    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._left_at: dict[str, float] = {}
        self._anchor = ""
        self._began = False

    def plan(
        self,
        service: str,
        ceiling: Ceiling,
        workers: Mapping[str, Standing],
        held: Mapping[str, Part],
        now: float,
    ) -> dict[str, Place]:
        """What each who shall hold a share shall have."""
        if not ceiling.rate or not ceiling.concurrency:
            self._members = {}
            return {}
        asks = {name: one.ask(service) for name, one in workers.items() if not one.released}
        self._left_at = {name: at for name, at in self._left_at.items() if name in asks}
        wanting = {name: ask for name, ask in asks.items() if ask.backlog}
        if not self._began:
            self._began = True  # those of the leader before us stay
            self._enter(workers, [name for name in held if held[name].tokens and name in asks], ceiling, now)
        self._leave(asks, held, now)
        waiting = self._waiting(wanting)
        self._make_room(asks, waiting, ceiling, now)
        self._enter(workers, waiting, ceiling, now)
        waiting = self._waiting(wanting)
        turns = self._lengths(ceiling, wanting) if waiting else {}
        for name, member in self._members.items():
            member.turn = 0 if name == self._anchor else turns.get(name, 1 if waiting else 0)
        needs = {
            name: self._need(asks[name], ceiling, self._weight(name, asks, turns)) for name in self._members
        }
        return {name: Place(part, self._members[name].turn) for name, part in targets(ceiling, needs).items()}

    def _leave(self, asks: Mapping[str, Ask], held: Mapping[str, Part], now: float) -> None:
        for name, member in list(self._members.items()):
            ask = asks.get(name)
            part = held.get(name)
            if member.began is None and part is not None and part.tokens:
                member.began = now
            if ask is None or ask.floor > member.entered or self._overdue(member, part, now):
                del self._members[name]
                self._left_at[name] = now
                continue
            if ask.backlog:
                member.wanted_at = now

    @staticmethod
    def _overdue(member: Member, part: Part | None, now: float) -> bool:
        if not member.turn or member.began is None or part is None or not part.rate:
            return False
        return now > member.began + 2 * member.turn / part.rate + PATIENCE

    def _waiting(self, wanting: Mapping[str, Ask]) -> list[str]:
        """Who has waited longest comes first."""
        return sorted(
            (name for name in wanting if name not in self._members),
            key=lambda name: (self._left_at.get(name, -math.inf), name),
        )

    def _make_room(self, asks: Mapping[str, Ask], waiting: list[str], ceiling: Ceiling, now: float) -> None:
        """Of those without backlog: for who has some, and in time for holders that could use more."""
        full = len(self._members) + len(waiting) > most_holders(ceiling)
        for name, member in list(self._members.items()):
            idle = not asks[name].backlog
            if idle and (
                full or (now > member.wanted_at + IDLE and any(ask.backlog for ask in asks.values()))
            ):
                del self._members[name]

    def _enter(self, workers: Mapping[str, Standing], names: list[str], ceiling: Ceiling, now: float) -> None:
        for name in names[: max(0, most_holders(ceiling) - len(self._members))]:
            self._members[name] = Member(workers[name].number, now)

    def _lengths(self, ceiling: Ceiling, wanting: Mapping[str, Ask]) -> dict[str, int]:
        """Of everybody's turn, in sends."""
        sends = ceiling.rate * CYCLE
        parts = fair(sends, {name: (max(1, ask.partitions), ask.backlog) for name, ask in wanting.items()})
        lengths = {name: max(1, int(part)) for name, part in parts.items()}
        self._choose_anchor(ceiling, wanting)
        return lengths

    def _choose_anchor(self, ceiling: Ceiling, wanting: Mapping[str, Ask]) -> None:
        inside = [name for name in self._members if name in wanting]
        if most_holders(ceiling) < 2 or not inside:
            self._anchor = ""
            return
        largest = max(inside, key=lambda name: wanting[name].backlog)
        kept = wanting[self._anchor].backlog if self._anchor in inside else 0
        if wanting[largest].backlog > 2 * kept:
            self._anchor = largest

    def _weight(self, name: str, asks: Mapping[str, Ask], turns: Mapping[str, int]) -> float:
        """By partitions with backlog; while turns are taken, the anchor's is its part of all turns."""
        if not turns:
            return max(1, asks[name].partitions)
        if name == self._anchor:
            return turns[name]
        others = sum(turns.values()) - turns.get(self._anchor, 0)
        return max(1.0, others / max(1, len(self._members) - (self._anchor in self._members)))

    def _need(self, ask: Ask, ceiling: Ceiling, weight: float) -> Need:
        rate = max(ask.backlog / HORIZON, LEAST * ceiling.rate)
        return Need(weight, rate, max(1, ask.backlog + ask.in_flight))
