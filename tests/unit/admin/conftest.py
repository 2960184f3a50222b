"""The admin app over real meters and snapshots, asked through ASGI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from math import inf

import httpx2
import pytest

from bufferproxy.admin.app import admin_app
from bufferproxy.admin.auth import Access
from bufferproxy.admin.contract import Absence, Check, Status
from bufferproxy.clock import SystemClock
from bufferproxy.observe.events import Events
from bufferproxy.observe.gauges import GaugeReading
from bufferproxy.observe.meters import Meters
from bufferproxy.observe.metrics import Metrics
from bufferproxy.observe.rates import RecentRates
from bufferproxy.observe.snapshot import Resting, Snapshots, Standing

AUTH = GaugeReading(3, 2, 1, 600, 1_700_000_000.25, 12.5, 1, 50.0, 40.0, 20.0, 7, 4, 12)
MAIL = GaugeReading(0, 0, 0, 0, None, inf, 0, inf, 0.0, inf, 0, 0, 12)


class Plane:
    """What the tests set before they ask."""

    def __init__(self) -> None:
        self.checks_now = [Check("log", ok=True), Check("draining", ok=True), Check("progress", ok=True)]
        self.requests_now: dict[str, Status | Absence] = {}
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
