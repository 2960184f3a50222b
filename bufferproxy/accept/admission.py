"""May one more be accepted? Pure."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

from bufferproxy.http1.problems import Problem


class Limits(NamedTuple):
    """`backlog` of the settings: how many requests, bytes of bodies, seconds of predicted wait."""

    requests: int
    size: int
    wait: float


class Waiting(Protocol):
    """The backlog: not yet ended requests, bytes of their bodies, how fast it drains (per second; 0.0: not
    known, inf: no limit and nothing measured), and how many of the requests wait for a time of their own."""

    @property
    def requests(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def rate(self) -> float: ...

    @property
    def delayed(self) -> int: ...


class Reading(NamedTuple):
    """The backlog at one moment."""

    requests: int
    size: int
    rate: float
    delayed: int = 0


def eta(reading: Waiting) -> float:
    """Seconds until the request that comes next would be sent. Unknown counts as at once."""
    if reading.rate == math.inf or reading.rate <= 0.0:
        return 0.0
    return max(0, reading.requests - reading.delayed) / reading.rate


def admit(limits: Limits, reading: Waiting, size: int) -> Problem | None:
    """None, or why not. The first limit that is reached names itself."""
    if reading.requests >= limits.requests:
        return Problem(
            "backlog-full",
            f"{reading.requests} requests wait, and backlog.requests is {limits.requests}",
            retry_after=_until_shorter(reading),
        )
    if reading.size + size > limits.size:
        return Problem(
            "backlog-full",
            f"{reading.size} bytes wait, and backlog.bytes is {limits.size}",
            retry_after=_until_shorter(reading),
        )
    wait = eta(reading)
    if wait > limits.wait:
        return Problem(
            "wait-too-long",
            f"it would wait {wait:.0f} s, and backlog.wait is {limits.wait:.0f} s",
            retry_after=min(60.0, max(1.0, wait - limits.wait)),
        )
    return None


def _until_shorter(reading: Waiting) -> float:
    """Seconds until a hundredth of the backlog has drained: time enough for room, within a minute."""
    return min(60.0, max(1.0, eta(reading) / 100))
