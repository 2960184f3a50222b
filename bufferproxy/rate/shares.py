"""How much each holder shall have, and how much of it may be granted now. Pure.

Each holder's bucket can be full at the same instant, so n of them could send n requests where only `burst`
are allowed. What that exceeds is taken off the rate, so that the promise holds in its shortest window:

    sum(rates) + max(0, sum(tokens) - burst) / WINDOW <= rate
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from bufferproxy.policy.bucket import WINDOW

COST = 0.05
"""The part of the rate that may be given up so that more than `burst` workers can hold a share at once."""


class Ceiling(NamedTuple):
    """Of a service, for all replicas together: per second (inf: unlimited), tokens, attempts in flight."""

    rate: float
    burst: int
    concurrency: int


class Part(NamedTuple):
    rate: float = 0.0
    tokens: int = 0
    concurrency: int = 0


class Need(NamedTuple):
    """What a holder can use: per second, and in flight. `weight` settles what is not enough for all."""

    weight: float
    rate: float
    concurrency: int


NOTHING = Part()


def most_holders(ceiling: Ceiling) -> int:
    """How many may hold a share at once."""
    if ceiling.rate == math.inf:
        return max(1, ceiling.concurrency)
    by_rate = ceiling.burst + int(COST * ceiling.rate * WINDOW + 1e-9)
    return max(1, min(by_rate, ceiling.concurrency))


def fair(capacity: float, wants: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Max-min: (weight, demand) -> part. Who wants less than its due gets it, the others share the rest."""
    given: dict[str, float] = {}
    weights = sum(weight for weight, _ in wants.values())
    for who, (weight, demand) in sorted(wants.items(), key=lambda item: (item[1][1] / item[1][0], item[0])):
        given[who] = min(demand, capacity * min(1.0, weight / weights) if weights > 0 else capacity)
        capacity = max(0.0, capacity - given[who])
        weights -= weight
    return given


def fair_whole(capacity: int, wants: Mapping[str, tuple[float, int]]) -> dict[str, int]:
    """The same in whole numbers, all of `capacity`, at least 1 each (while there are as many)."""
    rest = max(0, capacity - len(wants))
    parts = fair(rest, {who: (weight, max(0, demand - 1)) for who, (weight, demand) in wants.items()})
    given = {who: 1 + int(part + 1e-9) for who, part in parts.items()}
    left, number = capacity - sum(given.values()), len(given)
    for place, who in enumerate(sorted(given, key=lambda who: (given[who] - wants[who][1], who))):
        given[who] = max(0, given[who] + (left + number - 1 - place) // number)
    return given


def targets(ceiling: Ceiling, needs: Mapping[str, Need]) -> dict[str, Part]:
    """What these holders shall have; together all there is, what nobody needs included."""
    if not needs:
        return {}
    number = len(needs)
    room = ceiling.rate - max(0, number - ceiling.burst) / WINDOW
    if room == math.inf:
        rates = dict.fromkeys(needs, math.inf)
    else:
        rates = fair(max(0.0, room), {who: (need.weight, need.rate) for who, need in needs.items()})
        left = max(0.0, room - sum(rates.values()))
        spare = fair(left, {who: (need.weight, math.inf) for who, need in needs.items()})
        rates = {who: rate + spare[who] for who, rate in rates.items()}
    flights = fair_whole(
        ceiling.concurrency, {who: (need.weight, need.concurrency) for who, need in needs.items()}
    )
    return {
        who: Part(rates[who], max(1, (ceiling.burst + number - 1 - place) // number), flights[who])
        for place, who in enumerate(needs)
    }


def within(
    ceiling: Ceiling, wanted: Mapping[str, Part], held: Mapping[str, Part], recent_tokens: int
) -> dict[str, Part]:
    """Of `wanted`, what may be granted now, while everybody may still act on what `held` says: each with the
    most that all others may act on, as far as the bound goes. Less than before is no exception: what `held`
    tells may have run out long ago (who reads late writes off late), and a grant would bring it back. Only
    concurrency may always be lowered. `recent_tokens`: the most that all buckets together could hold in the
    last WINDOW; those may have been sent just now."""
    ledger = _Most(ceiling, held, recent_tokens)
    granted = {}
    for who, target in wanted.items():
        part = ledger.room(who, target)
        if part is not None:
            ledger.add(who, part)
            granted[who] = part
    return granted


class _Most:
    """What each may act on at most, held before or granted now."""

    def __init__(self, ceiling: Ceiling, held: Mapping[str, Part], recent_tokens: int) -> None:
        self.ceiling = ceiling
        self.parts = dict(held)
        self.recent = recent_tokens

    def room(self, who: str, target: Part) -> Part | None:
        """What may be granted; None when it is nothing, or too little to begin with."""
        ceiling, has = self.ceiling, self.parts.get(who, NOTHING)
        beginner = not has.tokens
        held = sum(part.concurrency for part in self.parts.values())
        concurrency = min(target.concurrency, has.concurrency + max(0, ceiling.concurrency - held))
        if beginner and not concurrency:
            return None
        held = sum(part.tokens for part in self.parts.values())
        more = max(0, min(target.tokens - has.tokens, ceiling.burst - held)) or int(beginner)
        if ceiling.rate == math.inf:
            return Part(math.inf, min(target.tokens, has.tokens + more), concurrency)
        others = sum(part.rate for name, part in self.parts.items() if name != who)
        if self._allowed(held + more) < min(self._allowed(held), has.rate + others):
            more = 0  # a token more would cost others their rate
        if beginner and not more:
            return None
        tokens = min(target.tokens, has.tokens + more)
        rate = min(target.rate, self._allowed(held + more) - others)
        if rate <= 0.0 or (beginner and rate < target.rate / 2):
            return None
        return Part(rate, tokens, concurrency)

    def _allowed(self, tokens: int) -> float:
        """Rate for all together, with so many tokens in all buckets."""
        excess = max(0, max(tokens, self.recent) - self.ceiling.burst)
        return self.ceiling.rate - excess / WINDOW

    def add(self, who: str, part: Part) -> None:
        has = self.parts.get(who, NOTHING)
        self.parts[who] = Part(
            max(has.rate, part.rate), max(has.tokens, part.tokens), max(has.concurrency, part.concurrency)
        )
