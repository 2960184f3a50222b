"""The deliver step against raw services."""

from __future__ import annotations

import asyncio

import pytest

from bufferproxy.clock import SystemClock
from bufferproxy.deliver.contract import Deliverer
from bufferproxy.deliver.outcome import Answered, ConnectFailed, Interrupted, NotSent, TimedOut, outcome_of
from bufferproxy.deliver.service import Service
from bufferproxy.deliver.upstream import Upstream
from bufferproxy.http1.client import Connection, Deadlines
from bufferproxy.http1.reply import Failure, Phase
from bufferproxy.http1.target import parse_target
from bufferproxy.records import Partition, Position, Request
from bufferproxy.testing import raw_service as raw
from bufferproxy.testing.raw_service import RawService

HEAD = b"POST /a/../b?{x} HTTP/1.1\r\nhOst: caller.example\r\nX: \xff\r\nContent-Length: 3\r\n"


def request(head: bytes = HEAD, body: bytes = b"\x00\r\n") -> Request:
    return Request("the-id", Position(Partition("t", 0), 1), None, head, body, 1_700_000_000_007, 0)


def service_of(
    *urls: str, deadlines: Deadlines | None = None, preserve_host: bool = True, connect: float = 5.0
) -> Service:
    clock = SystemClock()
    targets = [parse_target(url) for url in urls]
    upstream = Upstream(targets, clock=clock, idle=4, connect=connect)
    return Service(upstream, deadlines=deadlines or Deadlines(), clock=clock, preserve_host=preserve_host)


async def connection_to(deliverer: Deliverer) -> Connection:
    connection = await deliverer.connect()
    assert isinstance(connection, Connection), connection
    assert deliverer.ready(connection)
    return connection


async def deliver(deliverer: Deliverer, number: int = 1, what: Request | None = None) -> object:
    connection = await connection_to(deliverer)
    try:
        return await deliverer.attempt(connection, what or request(), number)
    finally:
        deliverer.release(connection)


async def test_the_service_receives_the_request_and_what_the_attempt_adds() -> None:
    async with RawService(raw.replying(raw.ok(b"done", b"X-Own: 1", status=201))) as fake:
        service = service_of(fake.url)
        outcome = await deliver(service, number=4)
        assert isinstance(outcome, Answered)
        assert (outcome.status, outcome.reply.body) == (201, b"done")
        assert outcome.reply.head == b"HTTP/1.1 201 OK\r\nX-Own: 1\r\nContent-Length: 4\r\n"
        assert fake.requests[0].raw == (
            HEAD + b"Bufferproxy-Id: the-id\r\nBufferproxy-Attempt: 4\r\n"
            b"Bufferproxy-Accepted-At: 2023-11-14T22:13:20.007Z\r\nIdempotency-Key: the-id\r\n\r\n\x00\r\n"
        )
        await service.close()


async def test_the_request_is_written_when_attempt_returns() -> None:
    async with RawService(raw.silent()) as fake:
        service = service_of(fake.url)
        connection = await connection_to(service)
        pending = asyncio.ensure_future(service.attempt(connection, request(), 1))
        pending.cancel()  # before its first turn
        await asyncio.wait([pending])
        assert [received.body for received in await fake.arrived(1)] == [b"\x00\r\n"]
        assert not service.ready(connection)
        service.release(connection)
        await connection.lost
        await service.close()


async def test_host_and_base_path_come_from_the_target_when_asked_for() -> None:
    async with RawService() as fake:
        service = service_of(f"{fake.url}/base/", preserve_host=False)
        await deliver(service)
        assert fake.requests[0].line == b"POST /base/a/../b?{x} HTTP/1.1"
        assert fake.requests[0].values(b"host") == [b"127.0.0.1:%d" % fake.port]
        await service.close()


async def test_a_reply_to_head_is_whole_without_its_body() -> None:
    async with RawService(raw.replying(raw.head(200, b"Content-Length: 99"))) as fake:
        service = service_of(fake.url)
        for _ in range(2):
            outcome = await deliver(service, what=request(b"HEAD / HTTP/1.1\r\nHost: a\r\n", b""))
            assert isinstance(outcome, Answered)
            assert outcome.reply.head == b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n"
        assert fake.connections == 1
        await service.close()


async def test_what_the_service_asks_for_is_in_the_outcome() -> None:
    busy = raw.ok(b"", b"Retry-After: 9", b"Bufferproxy-Outcome: retry; delay=3s", status=503)
    async with RawService(raw.replying(busy)) as fake:
        service = service_of(fake.url)
        outcome = await deliver(service)
        assert isinstance(outcome, Answered)
        assert (outcome.status, outcome.retry_after, outcome.verdict) == (503, 9.0, ("retry", 3.0))
        await service.close()


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (raw.silent(), TimedOut),
        (raw.reset(), Interrupted),
        (raw.closing(), Interrupted),
        (raw.garbage(), Interrupted),
    ],
)
async def test_a_failed_attempt_leaves_no_connection_behind(behaviour: raw.Behaviour, kind: type) -> None:
    async with RawService(behaviour, raw.replying()) as fake:
        service = service_of(fake.url, deadlines=Deadlines(whole=0.05))
        assert isinstance(await deliver(service), kind)
        assert isinstance(await deliver(service), Answered)
        assert [received.connection for received in fake.requests] == [0, 1]
        await service.close()


async def test_a_connection_that_went_while_waiting_for_its_token_sends_nothing() -> None:
    async with RawService() as fake:
        service = service_of(fake.url)
        connection = await connection_to(service)
        await fake.connected(1)
        await fake.drop_connections()
        await connection.lost
        assert not service.ready(connection)
        assert isinstance(await service.attempt(connection, request(), 1), NotSent)
        assert not fake.requests
        service.release(connection)
        await service.close()


async def test_targets_take_turns_each_with_its_own_connection() -> None:
    async with RawService() as one, RawService() as two:
        service = service_of(one.url, two.url)
        for _ in range(6):
            await deliver(service)
        assert (len(one.requests), len(two.requests)) == (3, 3)
        assert (one.connections, two.connections) == (1, 1)
        await service.close()


async def test_a_target_that_cannot_be_reached_is_passed_over() -> None:
    async with RawService() as gone:
        pass
    async with RawService() as here:
        service = service_of(gone.url, here.url)
        for _ in range(6):
            assert isinstance(await deliver(service), Answered)
        assert len(here.requests) == 6
        await service.close()


async def test_when_no_target_can_be_reached_that_is_a_connect_failure() -> None:
    async with RawService() as one, RawService() as two:
        pass
    service = service_of(one.url, two.url)
    failure = await service.connect()
    assert isinstance(failure, Failure)
    assert (failure.phase, failure.sent) == (Phase.CONNECT, False)
    assert isinstance(outcome_of(failure, 0.0), ConnectFailed)
    await service.close()


async def test_a_service_that_comes_back_is_used_again() -> None:
    fake = RawService()
    async with fake:
        service = service_of(fake.url)
        assert isinstance(await deliver(service), Answered)
    assert isinstance(await service.connect(), Failure)
    async with fake:
        assert isinstance(await deliver(service), Answered)
    await service.close()


async def test_closing_cuts_what_is_under_way() -> None:
    async with RawService(raw.silent()) as fake:
        service = service_of(fake.url)
        connection = await connection_to(service)
        attempt = asyncio.ensure_future(service.attempt(connection, request(), 1))
        await fake.arrived(1)
        await service.close()
        assert isinstance(await attempt, Interrupted)
        service.release(connection)


def test_a_service_without_targets_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="target"):
        service_of()
