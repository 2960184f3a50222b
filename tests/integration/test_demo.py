"""The demo's parts as real processes, on a smaller scale."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import pytest

from bufferproxy.clock import SystemClock
from bufferproxy.demo.children import ChildFailed, FragileService, fragile_service
from bufferproxy.demo.fragile import Fragility
from bufferproxy.demo.measure import summary, verdict
from bufferproxy.demo.proxy import running_proxy
from bufferproxy.demo.reports import Ending, How, Report
from bufferproxy.demo.scenario import Scenario
from bufferproxy.demo.story import straight, through
from bufferproxy.demo.tally import Tally

ASK = b"POST /orders HTTP/1.1\r\nHost: x\r\nBufferproxy-Id: %b\r\nContent-Length: 2\r\n\r\n{}"


class Ear:
    """Everything a service reports; `heard` waits for so many ends."""

    def __init__(self) -> None:
        self.arrived: list[float] = []
        self.ended: list[Ending] = []
        self._more = asyncio.Event()

    def __call__(self, report: Report) -> None:
        self.arrived += report.arrived
        self.ended += report.ended
        self._more.set()

    async def heard(self, *, arrivals: int = 0, ends: int = 0) -> None:
        while len(self.arrived) < arrivals or len(self.ended) < ends:
            self._more.clear()
            await self._more.wait()

    @property
    def fates(self) -> dict[str, How]:
        return {ending.id: ending.how for ending in self.ended}


class Caller:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def status(self) -> bytes:
        """Of the next answer; empty at the end of the stream."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await self._reader.readexactly(length)
        return head.split(b" ")[1]

    async def hang_up(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionResetError):
            await self._writer.wait_closed()

    async def cut_off(self) -> bool:
        try:
            await self._reader.read()
        except ConnectionResetError:
            return True
        return False


async def ask(service: FragileService, id_: bytes) -> Caller:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(ASK % id_)
    return Caller(reader, writer)


async def test_the_service_answers_and_says_when_the_request_arrived() -> None:
    clock, ear = SystemClock(), Ear()
    async with fragile_service(Fragility(work=0.02)) as service, asyncio.TaskGroup() as group:
        group.create_task(service.follow(ear))
        before = clock.now()
        caller = await ask(service, b"one")
        assert await caller.status() == b"200"
        after = clock.now()
        await caller.hang_up()
        await ear.heard(ends=1)
        service.close()
    assert ear.fates == {"one": How.OK}
    assert before <= ear.arrived[0] <= after
    assert 0.01 < ear.ended[0].seconds < after - before


async def test_who_finds_every_place_taken_gets_a_503() -> None:
    ear = Ear()
    small = Fragility(connections=1, work=60.0, backlog=1, endures=60.0)
    async with fragile_service(small) as service, asyncio.TaskGroup() as group:
        group.create_task(service.follow(ear))
        callers = []
        for number in range(3):
            callers.append(await ask(service, b"%d" % number))
            await ear.heard(arrivals=number + 1)
        assert await callers[2].status() == b"503"
        for caller in callers:
            await caller.hang_up()
        service.close()
    assert ear.fates == {"2": How.FULL}


async def test_work_for_a_caller_who_has_gone_is_done_for_nobody() -> None:
    ear = Ear()
    async with fragile_service(Fragility(work=0.2)) as service, asyncio.TaskGroup() as group:
        group.create_task(service.follow(ear))
        caller = await ask(service, b"gone")
        await ear.heard(arrivals=1)
        await caller.hang_up()
        await ear.heard(ends=1)
        service.close()
    assert ear.fates == {"gone": How.UNHEARD}


async def test_overload_that_lasts_makes_it_crash_and_cut_everybody_off() -> None:
    ear = Ear()
    brittle = Fragility(connections=1, work=30.0, backlog=1, endures=0.0, restart=30.0)
    async with fragile_service(brittle) as service, asyncio.TaskGroup() as group:
        group.create_task(service.follow(ear))
        callers = []
        for number in range(3):
            callers.append(await ask(service, b"%d" % number))
            await ear.heard(arrivals=number + 1)
        assert [await caller.cut_off() for caller in callers] == [True, True, True]
        with pytest.raises(ConnectionResetError):
            await (await ask(service, b"late")).status()
        for caller in callers:
            await caller.hang_up()
        service.close()
    assert ear.fates == dict.fromkeys("012", How.RESET)


async def test_a_service_that_ends_before_its_time_is_noticed() -> None:
    async with fragile_service(Fragility()) as service:
        os.kill(service.pid, signal.SIGKILL)
        with pytest.raises(ChildFailed, match="before its time"):
            await service.follow(Ear())


async def test_a_proxy_that_does_not_start_gives_its_last_words() -> None:
    with pytest.raises(ChildFailed, match="--to"):
        async with running_proxy("nowhere", 90, SystemClock()):
            pass


async def test_a_spike_breaks_the_service_and_bufferproxy_keeps_it_whole() -> None:
    scenario, seen, clock = Scenario(spike=2.0, drain=30.0), list[Tally](), SystemClock()
    bare = await straight(scenario, clock, seen.append)
    buffered = await through(scenario, clock, seen.append)
    assert seen == [bare, buffered]
    assert len(bare.calls) == len(buffered.calls) == scenario.requests == 600
    assert summary(bare).failed > 200
    assert summary(bare).peak > 200
    assert verdict(scenario, buffered) == []
    assert max(count for _, count in buffered.backlog) > 200
