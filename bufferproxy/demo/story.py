"""The two runs: the spike straight at the service, then through bufferproxy at a fresh one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from bufferproxy.clock import Clock
from bufferproxy.demo.children import FragileService, fragile_service
from bufferproxy.demo.proxy import running_proxy
from bufferproxy.demo.scenario import Scenario
from bufferproxy.demo.spike import Spike
from bufferproxy.demo.tally import Tally
from bufferproxy.http1.target import parse_target

_AGREE = 3.0
"""Seconds that the proxy's own count may come after the service's last answer."""

Begin = Callable[[Tally], None]
"""Told of each run when it begins."""


async def straight(scenario: Scenario, clock: Clock, begin: Begin) -> Tally:
    async with fragile_service(scenario.fragility) as service:
        tally = Tally("straight at the service", clock.now(), scenario.capacity, buffered=False)
        begin(tally)
        async with _followed(service, tally):
            await _spike(scenario, f"http://127.0.0.1:{service.port}", tally, clock)
    return tally


async def through(scenario: Scenario, clock: Clock, begin: Begin) -> Tally:
    """Until everything accepted was served, or `scenario.drain` is over."""
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(fragile_service(scenario.fragility))
        to = f"http://127.0.0.1:{service.port}"
        proxy = await stack.enter_async_context(running_proxy(to, scenario.ceiling, clock))
        tally = Tally("through bufferproxy", clock.now(), scenario.ceiling, buffered=True)
        begin(tally)
        async with _followed(service, tally), asyncio.TaskGroup() as group:
            watch = group.create_task(proxy.watch(tally.stands))
            await _spike(scenario, proxy.url, tally, clock)
            await _drained(tally, tally.began + scenario.drain, clock)
            watch.cancel()
    return tally


@asynccontextmanager
async def _followed(service: FragileService, tally: Tally) -> AsyncIterator[None]:
    """While the block runs the tally hears what the service reports; afterwards it has heard everything."""
    tally.kernel = service.kernel
    async with asyncio.TaskGroup() as group:
        group.create_task(service.follow(tally.heard))
        yield
        service.close()
    tally.over = True


async def _spike(scenario: Scenario, url: str, tally: Tally, clock: Clock) -> None:
    await Spike(scenario, parse_target(url), clock, tally.sending, tally.called).run(tally.began)


async def _drained(tally: Tally, until: float, clock: Clock) -> None:
    while tally.waiting and clock.now() < until:
        await clock.sleep(0.1)
    # The service has answered the last one; the proxy still writes it down.
    agreed_by = clock.now() + _AGREE
    while (tally.standing is None or tally.standing.backlog) and clock.now() < agreed_by:
        await clock.sleep(0.1)
