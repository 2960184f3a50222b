"""The admin app over real meters and snapshots, asked through ASGI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from math import inf

import httpx2
import pytest

from bufferproxy.admin.app import admin_app
from bufferproxy.admin.auth import Access
from bufferproxy.admin.contract import Absence, Check, Listed, Status
from bufferproxy.clock import SystemClock
from bufferproxy.errors import LogError
from bufferproxy.observe.events import Events
from bufferproxy.observe.gauges import GaugeReading
from bufferproxy.observe.meters import Meters
from bufferproxy.observe.metrics import Metrics
from bufferproxy.observe.rates import RecentRates
from bufferproxy.observe.snapshot import Resting, Snapshots, Standing
from bufferproxy.records import Letter, Record
from bufferproxy.results.selection import Selection
from bufferproxy.settle.redrive import Order, Work

AUTH = GaugeReading(
    3, 2, 1, 600, 1_700_000_000.25, 12.5, 1, 50.0, 40.0, 20.0, 7, 4, 12,
    concurrency_allowed=8, concurrency_found=8, shadow=("breaker",),
)  # fmt: skip
MAIL = GaugeReading(0, 0, 0, 0, None, inf, 0, inf, 0.0, inf, 0, 0, 12)


NOW = 1_700_000_000.0
"""Seconds since the epoch."""


class Letters:
    """Dead letters of the service `auth`, in memory."""

    def __init__(self) -> None:
        self.letters: dict[str, tuple[Letter, Record]] = {}
        self.asked: list[Selection] = []
        self.begun: list[tuple[Selection, Order]] = []
        self.last: Work | None = None
        self.busy = False
        self.at_once = True
        self.failure: LogError | None = None

    def knows(self, service: str) -> bool:
        return service == "auth"

    async def list(self, service: str, wanted: Selection, limit: int, after: int) -> Listed:
        if self.failure is not None:
            raise self.failure
        self.asked.append(wanted)
        all_ = [letter for letter, _ in self.letters.values()]
        found = all_[after : after + limit]
        return Listed(found, len(all_), after + limit if after + limit < len(all_) else None)

    async def show(self, service: str, id_: str) -> tuple[Letter, Record] | None:
        return self.letters.get(id_)

    async def missing(self, service: str, ids: Collection[str]) -> Sequence[str]:
        return [id_ for id_ in ids if id_ not in self.letters]

    async def begin(self, service: str, wanted: Selection, order: Order) -> Work | None:
        if self.busy:
            return None
        self.begun.append((wanted, order))
        self.last = Work(order, len(self.letters))
        if self.at_once:
            self.last.done = len(self.letters)
            self.last.end("done")
        return self.last

    def work(self, service: str) -> Work | None:
        return self.last


class Plane:
    """What the tests set before they ask."""

    def __init__(self) -> None:
        self.checks_now = [Check("log", ok=True), Check("draining", ok=True), Check("progress", ok=True)]
        self.requests_now: dict[str, Status | Absence] = {}
        self.dead = Letters()
        self.settings_now: list[tuple[str, object, str]] = []
        self.events = Events()
        meters = Meters(["auth", "mail"])
        meters.subscribe(self.events)
        self.metrics = Metrics(meters, "1.2.3")
        self.snapshots = Snapshots(meters, RecentRates(meters, SystemClock()))
        resting = Resting("connect", 1_700_000_060.5)
        auth = Standing(("http://auth.internal:8000",), 1, 20, paused=False, resting=resting)
        mail = Standing(("http://mail.internal",), 2, 10, paused=True, resting=None)
        for name, standing, gauges in (("auth", auth, AUTH), ("mail", mail, MAIL)):
            self.metrics.register(name, lambda gauges=gauges: gauges)
            self.snapshots.register(name, lambda standing=standing: standing, lambda gauges=gauges: gauges)

    def checks(self) -> list[Check]:
        return self.checks_now

    async def status(self, id: str) -> Status | Absence:  # noqa: A002
        return self.requests_now.get(id, Absence.UNKNOWN)

    def client(self, access: Access, host: str = "localhost:8081") -> httpx2.AsyncClient:
        app = admin_app(
            snapshot=self.snapshots,
            health=self,
            requests=self,
            dead=self.dead,
            wall=lambda: NOW,
            settings=lambda: self.settings_now,
            render=self.metrics.scrape,
            access=access,
        )
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        return httpx2.AsyncClient(transport=transport, base_url=f"http://{host}")


@pytest.fixture
def plane() -> Plane:
    return Plane()


@pytest.fixture
async def client(plane: Plane) -> AsyncIterator[httpx2.AsyncClient]:
    async with plane.client(Access(loopback=True)) as asking:
        yield asking
