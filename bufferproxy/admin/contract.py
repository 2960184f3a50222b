"""What the admin plane needs from the rest; the wiring connects it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from bufferproxy.observe.snapshot import ServiceSnapshot
from bufferproxy.records import Letter, Record
from bufferproxy.results.selection import Selection
from bufferproxy.settle.redrive import Order, Work


class Snapshot(Protocol):
    """Both are called for each look at the page: quick, and of one moment."""

    def services(self) -> Sequence[ServiceSnapshot]: ...

    def service(self, name: str) -> ServiceSnapshot | None: ...


class Check(NamedTuple):
    """One thing that readiness needs. `detail` says in words what is wrong, or, with `ok`, what may become
    so; empty when nothing is."""

    name: str
    ok: bool
    detail: str = ""


class Health(Protocol):
    def checks(self) -> Sequence[Check]:
        """What is known now: asks nobody, waits for nothing."""
        ...


class Absence(StrEnum):
    """Why there is no status: the slug of the problem the caller gets."""

    UNKNOWN = "unknown-request"
    GONE = "result-gone"
    UNAVAILABLE = "log-unavailable"


Status = Mapping[str, object]
"""The JSON of a request's status, as the data plane gives it."""


class Requests(Protocol):
    async def status(self, id: str) -> Status | Absence:  # noqa: A002
        """The status of one request. Raises nothing; answers within some seconds."""
        ...


class Listed(NamedTuple):
    """Some dead letters, the oldest first. `total`: how many there are in all; `next`: where the next page
    begins, None behind the last."""

    letters: Sequence[Letter]
    total: int
    next: int | None


class DeadLetters(Protocol):
    """All but `knows` and `work` raise LogError, within some seconds."""

    def knows(self, service: str) -> bool: ...

    async def list(self, service: str, wanted: Selection, limit: int, after: int) -> Listed: ...

    async def show(self, service: str, id_: str) -> tuple[Letter, Record] | None: ...

    async def missing(self, service: str, ids: Collection[str]) -> Sequence[str]:
        """Those that are no dead letters."""
        ...

    async def begin(self, service: str, wanted: Selection, order: Order) -> Work | None:
        """Goes on in the background. None while another order of the service is carried out here."""
        ...

    def work(self, service: str) -> Work | None:
        """The last order of the service that was begun here."""
        ...


Settings = Callable[[], Sequence[tuple[str, object, str]]]
"""Every resolved setting: key as in the file (`services.auth.rate`), value, origin."""


class Exposition(Protocol):
    """Metrics as text: `observe.metrics.Rendered`."""

    @property
    def body(self) -> bytes: ...

    @property
    def content_type(self) -> str: ...


Render = Callable[[str], Awaitable[Exposition]]
"""Given the `Accept` header."""
