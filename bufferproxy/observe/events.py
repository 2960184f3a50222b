"""What happens, told once: the steps emit these, and metrics, log lines and tests subscribe.

`service` is always a name from the configuration. Durations are seconds, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar


class Accepted(NamedTuple):
    """A request is durable and its caller is being told. `seconds`: from the request's last byte to now."""

    service: str
    size: int
    seconds: float


class Refused(NamedTuple):
    """`reason` is the slug of the problem the caller got. `service` is None when none was found."""

    service: str | None
    reason: str


class Attempted(NamedTuple):
    """A delivery attempt is over. `result`: success, retryable, rejected, timeout, connect, interrupted.

    `queued`: seconds from acceptance to the send of a first attempt; None for later ones and when
    nothing was sent.
    """

    service: str
    result: str
    seconds: float
    queued: float | None


class Finished(NamedTuple):
    """A request reached its end. `outcome`: delivered, rejected, dead, expired, cancelled."""

    service: str
    outcome: str


class RetryScheduled(NamedTuple):
    service: str
    reason: str
    delay: float


class DeadLettered(NamedTuple):
    service: str
    reason: str


class Redriven(NamedTuple):
    """A dead letter was opened again: its request is durable in the queue. `size`: bytes of its body."""

    service: str
    size: int


class Rested(NamedTuple):
    """The whole service rests. `reason`: connect, retry_after."""

    service: str
    reason: str
    seconds: float
    detail: str


class AddressTurned(NamedTuple):
    """One of several addresses cannot be connected to and is left out, or takes turns again (`reachable`)."""

    service: str
    address: str
    reachable: bool
    detail: str


class LookUpFailed(NamedTuple):
    """A host's addresses were asked for in vain. `kept`: those of an earlier answer stay in use."""

    service: str
    host: str
    detail: str
    kept: bool


class BreakerTurned(NamedTuple):
    """`state`: closed, open, half-open. `seconds`: until the next probe, while it is open; `shadow`: it holds
    nobody back."""

    service: str
    state: str
    seconds: float
    shadow: bool


class Held(NamedTuple):
    """Delivery was held back for `seconds`. `reason` as in throttled_seconds_total."""

    service: str
    reason: str
    seconds: float


class LogOperated(NamedTuple):
    """`operation`: append, fetch, commit, read, lag, ping. `error` is a class name, None when it worked.
    Appends that worked come as LogAppended."""

    operation: str
    seconds: float
    error: str | None = None


class LogAppended(NamedTuple):
    """Appends that became durable together, and how long each took: LogOperated for many."""

    seconds: Sequence[float]


class LeasesChanged(NamedTuple):
    """`held`: how many partitions of the service's topics this replica reads now."""

    service: str
    held: int


class Quarantined(NamedTuple):
    """A record could not be understood and went to the dead letters as it is."""

    service: str
    detail: str


class Unsettled(NamedTuple):
    """What a request came to cannot be stored, as its topic takes less than it needs. It is tried again."""

    service: str
    detail: str


class TurnedAway(NamedTuple):
    """A caller's connection was closed at once, as there were `limit` already. `plane`: data, admin."""

    plane: str
    limit: int


class LoopLagged(NamedTuple):
    seconds: float


class Reloaded(NamedTuple):
    success: bool
    detail: str


class HealthChanged(NamedTuple):
    """A check of readiness turned, or fails for another cause. `check`: log, storage, draining, progress;
    `detail` says what is wrong."""

    check: str
    ok: bool
    detail: str


Event = (
    Accepted
    | AddressTurned
    | Refused
    | Attempted
    | Finished
    | RetryScheduled
    | DeadLettered
    | BreakerTurned
    | Redriven
    | Rested
    | Held
    | LogOperated
    | LogAppended
    | LookUpFailed
    | LeasesChanged
    | Quarantined
    | Unsettled
    | TurnedAway
    | LoopLagged
    | Reloaded
    | HealthChanged
)

Emit = Callable[[Event], None]
E_ = TypeVar("E_")


class Events:
    """Hands each event to who subscribed to its type, at once, in the order of subscription."""

    def __init__(self) -> None:
        self._subscribers: dict[type, tuple[Callable[..., None], ...]] = {}

    def subscribe(self, kind: type[E_], subscriber: Callable[[E_], None]) -> None:
        """`subscriber` must be quick and must not raise: it runs on the hot path."""
        self._subscribers[kind] = (*self._subscribers.get(kind, ()), subscriber)

    def emit(self, event: Event) -> None:
        for subscriber in self._subscribers.get(type(event), ()):
            subscriber(event)

    def __repr__(self) -> str:
        return f"<Events { ({kind.__name__: len(who) for kind, who in self._subscribers.items()}) }>"
