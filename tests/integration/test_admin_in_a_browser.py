"""The pages of the admin plane in a real browser, which also enforces their policy."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from math import inf

import pytest

from bufferproxy.admin.app import admin_app
from bufferproxy.admin.auth import Access, Tokens
from bufferproxy.admin.contract import Absence, Check
from bufferproxy.admin.server import AdminServer
from bufferproxy.clock import SystemClock
from bufferproxy.dead import DeadLetters
from bufferproxy.observe.gauges import GaugeReading
from bufferproxy.observe.meters import Meters
from bufferproxy.observe.metrics import Metrics
from bufferproxy.observe.rates import RecentRates
from bufferproxy.observe.snapshot import Resting, Snapshots, Standing

READING = GaugeReading(1200, 30, 4, 5 << 20, 1_700_000_000.0, inf, 4, 50.0, 0.0, 0.0, 9, 7, 12)


class Fine:
    def checks(self) -> list[Check]:
        return [Check("log", ok=True)]


class NoRequests:
    async def status(self, id: str) -> Absence:  # noqa: A002
        return Absence.UNKNOWN


@pytest.fixture
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no browser here (Debian package: chromium)")
    return found


@pytest.fixture
async def port() -> AsyncIterator[int]:
    meters, clock = Meters(["auth", "<b>mail</b>"]), SystemClock()
    snapshots = Snapshots(meters, RecentRates(meters, clock))
    resting = Resting("connect", clock.wall() + 3600)
    for name, rest in (("auth", resting), ("<b>mail</b>", None)):
        standing = Standing(("http://auth.internal:8000",), 1, 20, paused=False, resting=rest)
        snapshots.register(name, lambda standing=standing: standing, lambda: READING)
    app = admin_app(
        snapshot=snapshots,
        health=Fine(),
        requests=NoRequests(),
        dead=DeadLetters(),
        wall=clock.wall,
        settings=list,
        render=Metrics(meters, "1").scrape,
        access=Access.for_host("127.0.0.1", Tokens()),
    )
    server = AdminServer(app, "127.0.0.1", 0)
    await server.start()
    yield server.port
    await server.stop()


async def opened(chromium: str, url: str, profile: str) -> tuple[str, str]:
    """(the page after its scripts ran for two seconds, what the browser complained about)."""
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    own = [f"--user-data-dir={profile}", "--virtual-time-budget=2000", "--proxy-server=direct://"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(chromium, *flags, *own, url, stdout=pipe, stderr=pipe)
    async with asyncio.timeout(90):
        page, complaints = await process.communicate()
    console = [line for line in complaints.decode(errors="replace").splitlines() if "CONSOLE" in line]
    return page.decode(), "\n".join(console)


async def test_the_status_page_shows_what_the_services_say(
    chromium: str, port: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    profile = str(tmp_path_factory.mktemp("profile"))
    page, complaints = await opened(chromium, f"http://127.0.0.1:{port}/", profile)
    assert complaints == ""
    for shown in (">live<", ">auth<", ">1,234<", "30 delayed", "5 MiB", ">resting<", "does not answer"):
        assert shown in page, shown
    assert "&lt;b&gt;mail&lt;/b&gt;" in page


async def test_the_docs_page_shows_every_route(
    chromium: str, port: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    profile = str(tmp_path_factory.mktemp("profile"))
    page, complaints = await opened(chromium, f"http://127.0.0.1:{port}/docs", profile)
    assert complaints == ""
    for shown in ("/api/v1/services/{service}", "drain_eta_seconds", "/readyz"):
        assert shown in page, shown
