"""What is known of a name's addresses, and for how long. Pure: `now` is an argument."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Sequence
from typing import NamedTuple

ASK_AGAIN_SECONDS = 10.0
"""After an answer that does not tell its time to live, while there is traffic. Of one that tells it, after
that time."""

RETRY_SECONDS = 1.0
"""After an answer without addresses, or when connecting failed. No name is asked for more often."""

LOOK_UP_PATIENCE_SECONDS = 1.0
"""For which a connect waits for a look-up, though there are addresses from an earlier one."""

GREATEST_AGE_SECONDS = 60.0
"""Of a connection, where the time to live of the name's answer is not known."""

AGE_BEYOND_TTL_SECONDS = 30.0
LONGEST_AGE_SECONDS = 300.0
AGE_SPREAD = 0.25
"""Connections live for between three quarters and the whole of their greatest age: those made in one moment
are not all renewed in one."""


class Answer(NamedTuple):
    """`addresses`: in the order given, none twice. Without any, `detail` says why. `ttl`: seconds, None where
    the resolver does not tell."""

    addresses: tuple[str, ...]
    ttl: float | None = None
    detail: str = ""


class NoAnswer(NamedTuple):
    """The look-up failed: whatever was known of the name may still be true."""

    detail: str


def ask_after(ttl: float | None) -> float:
    """Seconds from an answer until the name is asked for again."""
    if ttl is None:
        return ASK_AGAIN_SECONDS
    return min(max(ttl, RETRY_SECONDS), LONGEST_AGE_SECONDS - AGE_BEYOND_TTL_SECONDS)


def greatest_age(ttl: float | None) -> float:
    """Seconds that a connection to one of an answer's addresses is used."""
    if ttl is None:
        return GREATEST_AGE_SECONDS
    return min(ttl + AGE_BEYOND_TTL_SECONDS, LONGEST_AGE_SECONDS)


def retires_at(now: float, age: float, random: float) -> float:
    """When a connection made now begins no more exchanges; `random` in [0, 1)."""
    return now + age * (1.0 - AGE_SPREAD * random)


class ResolvedName:
    """One host. An answer replaces the one before; a look-up that failed leaves that in force, however old it
    is: an outage of the resolver is none of the service. Nobody is asked for a host that is an address."""

    __slots__ = (
        "_answered_at", "_ask_at", "_asked_at", "_failing", "_told_at", "addresses", "detail", "host", "ttl",
    )  # fmt: skip

    def __init__(self, host: str) -> None:
        self.host = host
        self.addresses: Sequence[str] = ()
        self.detail = ""
        """Why there are none."""
        self.ttl: float | None = None
        self._ask_at = -math.inf
        self._asked_at: float | None = None  # not None: a look-up is under way
        self._told_at = -math.inf  # when the last look-up ended, whatever came of it
        self._answered_at = -math.inf
        self._failing = False
        if is_address(host):
            self.addresses, self._ask_at, self._answered_at = (host,), math.inf, math.inf

    def due(self, now: float) -> bool:
        """It is to be asked for now, and is not already."""
        return self._asked_at is None and now >= self._ask_at

    def asked(self, now: float) -> None:
        """A look-up begins; `learn` must follow."""
        self._asked_at = now

    def learn(self, told: Answer | NoAnswer, now: float) -> None:
        """A look-up is over."""
        self._asked_at = None
        self._told_at = now
        self.detail = told.detail
        if isinstance(told, Answer):
            self._failing = False
            self._answered_at = now
            self.addresses, self.ttl = told.addresses, told.ttl
        else:
            self._failing = True
        self._ask_at = now + (ask_after(self.ttl) if self.addresses else RETRY_SECONDS)

    def doubt(self, now: float) -> None:
        """Connecting to one of its addresses failed: it may have moved."""
        if self._ask_at < math.inf:
            self._ask_at = min(self._ask_at, self._told_at + RETRY_SECONDS)

    def wait_until(self, now: float, *, needed: bool) -> float:
        """Until when a connect should wait for the look-up that is under way; -inf when it need not, inf
        where it cannot do without. `needed`: there is nothing else to connect to."""
        if self._asked_at is None:
            return -math.inf
        if not self.addresses:
            return math.inf if needed else -math.inf
        known_stale = now >= self._answered_at + greatest_age(self.ttl) and not self._failing
        return self._asked_at + LOOK_UP_PATIENCE_SECONDS if needed or known_stale else -math.inf

    def __repr__(self) -> str:
        return f"<ResolvedName {self.host} {', '.join(self.addresses) or self.detail}>"


def is_address(host: str) -> bool:
    """It is an IP address as it stands."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
