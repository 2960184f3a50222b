"""May one more be accepted? Pure."""

from __future__ import annotations

from math import inf, sqrt
from typing import NamedTuple, Protocol

from bufferproxy.http1.problems import Problem


class Limits(NamedTuple):
    """`backlog` of the settings: how many requests, bytes of bodies, seconds of predicted wait."""

    requests: int
    size: int
    wait: float


class Waiting(Protocol):
    """The backlog: not yet ended requests, bytes of their bodies, how fast it drains (per second; 0.0: not
    known, inf: no limit and nothing measured), how many of the requests wait for a time of their own, and
    when and how slowly sending begins (`Outlook`)."""

    @property
    def requests(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def rate(self) -> float: ...

    @property
    def delayed(self) -> int: ...

    @property
    def outlook(self) -> Outlook: ...

    @property
    def doubtful(self) -> bool:
        """These figures are so old that nobody is to be refused by them."""
        ...


class Outlook(NamedTuple):
    """`still`: seconds in which nothing will be sent; inf: until an operator resumes the service. Then it
    begins with `share` of the rate, and `gain` is added to that each second until it is all."""

    still: float = 0.0
    share: float = 1.0
    gain: float = 0.0


CLEAR = Outlook()


class Reading(NamedTuple):
    """The backlog at one moment."""

    requests: int
    size: int
    rate: float
    delayed: int = 0
    outlook: Outlook = CLEAR
    doubtful: bool = False


RESUMED = 60.0
"""Seconds after which to come back when nobody knows how long the service is paused."""


def foreseen(reading: Waiting, ahead: int) -> float:
    """Seconds until what has so many before it is sent; inf: nobody knows. An unknown rate counts as at
    once."""
    outlook, rate = reading.outlook, reading.rate
    seconds = ahead / rate if ahead > 0 and 0.0 < rate < inf else 0.0
    return seconds if outlook is CLEAR else outlook.still + _ramped(outlook, seconds)


def eta(reading: Waiting) -> float:
    """As `foreseen`, of the request that comes next."""
    return foreseen(reading, reading.requests - reading.delayed)


def come_back(wait: float) -> float:
    """Retry-After for what is foreseen to wait so long."""
    return RESUMED if wait == inf else max(1.0, wait)


def admit(limits: Limits, reading: Waiting, size: int) -> Problem | None:
    """None, or why not. The first limit that is reached names itself."""
    if reading.doubtful:
        return None
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
    if wait == inf:
        # How long a pause lasts cannot be predicted, and what comes meanwhile is what a buffer is for.
        wait = eta(_resumed(reading))
    if wait > limits.wait:
        return Problem(
            "wait-too-long",
            f"it would wait {wait:.0f} s, and backlog.wait is {limits.wait:.0f} s",
            retry_after=min(60.0, max(1.0, wait - limits.wait)),
        )
    return None


def _ramped(outlook: Outlook, seconds: float) -> float:
    """What takes so long at the full rate."""
    _, share, gain = outlook
    if gain <= 0.0:
        return seconds
    full = (1 - share) / gain
    sent = full * (1 + share) / 2  # seconds' worth of the full rate, when the ramp has reached it
    if seconds >= sent:
        return full + seconds - sent
    return (sqrt(share * share + 2 * gain * seconds) - share) / gain


def _until_shorter(reading: Waiting) -> float:
    """Seconds until a hundredth of the backlog has drained: time enough for room, within a minute."""
    return min(60.0, max(1.0, reading.outlook.still + eta(_resumed(reading)) / 100))


def _resumed(reading: Waiting) -> Reading:
    """The same, if the service took all that it may from now on."""
    return Reading(reading.requests, reading.size, reading.rate, reading.delayed)
