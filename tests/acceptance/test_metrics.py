"""What the metrics say adds up: accepted - finished = backlog, at rest and under load."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.load import Load, Sent

if TYPE_CHECKING:
    from bufferproxy.testing.processes import Bufferproxy
    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance


async def test_accepted_less_finished_is_the_backlog(world: World) -> None:
    await asyncio.to_thread(world.start, rate="300/s", retry={"attempts": 2, "first": "3s", "jitter": "none"})
    world.recorder.mode(first=[500, 500], only="/bad")
    async with Load(world.proxy.url, connections=20) as load:
        calling = asyncio.create_task(
            load.send(
                (Sent(b"/%b/%d" % (b"bad" if n % 10 == 0 else b"good", n)) for n in range(1500)), rate=500
            )
        )
        await load.accepts(500)
        while not calling.done():
            # In one process one scrape is one moment. Two are asked one after the other, and the backlog of a
            # Kafka log is measured twice a second.
            apart = await asyncio.to_thread(_apart, world)
            assert apart <= (2 if not world.place.kafka else 1000)
        told = await calling
        assert sum(one.accepted for one in told) == 1500
        await asyncio.to_thread(world.await_settled)
    assert _apart(world) == 0
    assert world.sum("requests_finished_total", outcome="delivered") == 1350
    assert world.sum("requests_finished_total", outcome="dead") == 150
    assert world.sum("delivery_attempts_total") == 1350 + 2 * 150 == world.recorder.count()


def _apart(world: World) -> float:
    samples = {process.role: process.metrics() for process in world.processes}

    def total(name: str, role: str) -> float:
        found = samples.get(role, samples.get("run", {}))
        return sum(value for sample, value in found.items() if sample.startswith(f"bufferproxy_{name}{{"))

    accepted, finished = total("requests_accepted_total", "proxy"), total("requests_finished_total", "worker")
    return abs(accepted - finished - total("backlog_requests", "worker"))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool")
async def test_a_scrape_is_clean(world: World) -> None:
    await asyncio.to_thread(world.start)
    async with Load(world.proxy.url) as load:
        await load.send(Sent(b"/%d" % n) for n in range(100))
        await asyncio.to_thread(world.await_settled)
    for process in world.processes:
        await asyncio.to_thread(_check, process)


def _check(process: Bufferproxy) -> None:
    with urllib.request.urlopen(f"{process.admin}/metrics", timeout=10.0) as answer:
        scrape = answer.read()
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=scrape, capture_output=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
