"""Workers under one prefix that know different services: each gets its rate, whoever leads the others."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from bufferproxy.ids import parse_id, service_number
from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.processes import wait_until
from bufferproxy.testing.promises import duplicates, nothing_lost, over_ceiling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bufferproxy.testing.processes import Bufferproxy
    from bufferproxy.testing.promises import Arrival
    from bufferproxy.testing.world import World

pytestmark = [pytest.mark.acceptance, pytest.mark.kafka, pytest.mark.timeout(300)]

RATE = 100


async def start(world: World, first: str) -> None:
    """The proxy knows `orders` and `search`, each 100 a second; the first worker knows `first`."""
    matched = {"match": {"path": "/search"}}
    world.beside = {"search": {"to": world.recorder.url, "rate": f"{RATE}/s", **matched}}
    world.known = {"worker-0": (first,)}
    await asyncio.to_thread(world.start, rate=f"{RATE}/s")


async def accepted(world: World, service: str, count: int) -> list[str]:
    async with Load(world.proxy.url, connections=50) as load:
        told = await load.send(Sent(b"/%b/%d" % (service.encode(), n)) for n in range(count))
    ids = [one.id for one in told if one.accepted]
    assert len(ids) == count
    return ids


def of(service: str, arrivals: Sequence[Arrival]) -> list[float]:
    """When they arrived."""
    number = service_number(service)
    identities = ((arrival.at, parse_id(arrival.id)) for arrival in arrivals)
    return sorted(at for at, identity in identities if identity is not None and identity.service == number)


async def replace(world: World, old: Bufferproxy, *known: str) -> Bufferproxy:
    new = await asyncio.to_thread(world.add_worker, *known)
    assert await asyncio.to_thread(old.terminate) == 0
    return new


async def test_a_worker_a_service_each_delivers_its_own(kafka_world: World) -> None:
    world = kafka_world
    await start(world, "orders")
    orders = await accepted(world, "orders", 5 * RATE)
    await asyncio.to_thread(world.recorder.await_count, RATE)
    await asyncio.to_thread(world.add_worker, "search")
    search = await accepted(world, "search", 2 * RATE)
    arrivals = await asyncio.to_thread(world.recorder.await_ids, orders + search, 30.0)
    for service in ("orders", "search"):
        assert over_ceiling(of(service, arrivals), rate=RATE, burst=1, window=1.0) == []
    assert all(worker.ready for worker in world.workers)


async def test_a_rolling_change_that_adds_a_service_and_takes_it_back_starves_neither(
    kafka_world: World,
) -> None:
    world = kafka_world
    await start(world, "orders")
    workers = [world.worker, *[await asyncio.to_thread(world.add_worker, "orders") for _ in range(2)]]
    orders = await accepted(world, "orders", 30 * RATE)
    search = await accepted(world, "search", 10 * RATE)
    await asyncio.to_thread(world.recorder.await_count, RATE)
    workers = [await replace(world, old, "orders", "search") for old in workers]
    await asyncio.to_thread(
        wait_until,
        lambda: len(of("search", world.recorder.arrivals())) == len(search),
        "all of the service that was added",
    )
    for old in workers:
        await replace(world, old, "orders")
    arrivals = await asyncio.to_thread(world.recorder.await_ids, orders + search, 90.0)
    assert nothing_lost(orders + search, arrivals) == []
    assert duplicates(arrivals) == 0
    for service in ("orders", "search"):
        stamps = of(service, arrivals)
        longest = max(after - before for before, after in pairwise(stamps))
        print(
            f"\n{service}: {len(stamps)} in {stamps[-1] - stamps[0]:.1f} s, {longest:.1f} s without", end=""
        )
        assert longest < 10.0
        for window in (0.1, 1.0, 5.0):
            assert over_ceiling(stamps, rate=RATE, burst=1, window=window) == []
