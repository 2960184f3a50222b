"""The pool against a raw service: what is reused, what is not, and how connecting fails."""

from __future__ import annotations

import asyncio

import pytest

from bufferproxy.clock import SystemClock
from bufferproxy.http1.client import IDLE, Connection, Deadlines
from bufferproxy.http1.pool import Pool
from bufferproxy.http1.reply import Failure, Kind, Phase, Reply
from bufferproxy.http1.target import parse_target
from bufferproxy.testing import raw_service as raw
from bufferproxy.testing.raw_service import RawService, silent_host

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class MovableClock(SystemClock):
    ahead = 0.0

    def now(self) -> float:  # type: ignore[override]
        return SystemClock.now() + self.ahead


def pool_of(service: RawService, *, idle: int = 4, clock: SystemClock | None = None) -> Pool:
    return Pool(parse_target(service.url), clock=clock or SystemClock(), idle=idle)


async def take(pool: Pool) -> Connection:
    connection = await pool.acquire()
    assert isinstance(connection, Connection), connection
    return connection


async def use(pool: Pool) -> Connection:
    """One exchange, and back it goes."""
    connection = await take(pool)
    reply = await connection.exchange(GET, b"", head_request=False, deadlines=Deadlines())
    assert isinstance(reply, Reply)
    pool.release(connection)
    return connection


async def test_a_clean_connection_is_used_again() -> None:
    async with RawService() as service:
        pool = pool_of(service)
        assert await use(pool) is await use(pool)
        assert service.connections == 1
        await pool.close()


async def test_the_connection_used_last_is_used_first() -> None:
    async with RawService() as service:
        pool = pool_of(service)
        first, second = await take(pool), await take(pool)
        pool.release(first)
        pool.release(second)
        assert await pool.acquire() is second
        assert await pool.acquire() is first
        await pool.close()


@pytest.mark.parametrize(
    "behaviour",
    [
        raw.not_kept_alive(),
        raw.closing_idle(),
        raw.until_close(),
        raw.replying(raw.ok() + b"HTTP/1.1 200 OK\r\n"),
        raw.replying(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        raw.replying(raw.ok(b"", b"Keep-Alive: timeout=1")),
    ],
)
async def test_a_connection_that_is_over_is_not_used_again(behaviour: raw.Behaviour) -> None:
    async with RawService(behaviour) as service:
        pool = pool_of(service)
        for count in range(1, 4):
            connection = await use(pool)
            await connection.lost
            assert service.connections == count
        assert "open=0" in repr(pool)
        await pool.close()


@pytest.mark.parametrize("spoil", ["drop", "speak"])
async def test_a_connection_that_changed_while_idle_is_dropped(spoil: str) -> None:
    async with RawService() as service:
        pool = pool_of(service)
        connection = await use(pool)
        await (service.drop_connections() if spoil == "drop" else service.say(b"!"))
        await connection.lost
        assert await use(pool) is not connection
        assert [received.connection for received in service.requests] == [0, 1]
        await pool.close()


async def test_a_connection_idle_for_too_long_is_dropped() -> None:
    clock = MovableClock()
    async with RawService() as service:
        pool = pool_of(service, clock=clock)
        connection = await use(pool)
        clock.ahead += IDLE
        assert await use(pool) is not connection
        await connection.lost
        await pool.close()


async def test_idle_connections_are_swept_also_when_nobody_asks() -> None:
    clock = MovableClock()
    async with RawService() as service:
        pool = pool_of(service, clock=clock)
        old = await use(pool)
        clock.ahead += IDLE
        pool._sweep()
        await old.lost
        assert "idle=0" in repr(pool)
        assert pool._sweeper is None
        await pool.close()


async def test_no_more_idle_connections_are_kept_than_asked_for() -> None:
    async with RawService() as service:
        pool = pool_of(service, idle=1)
        first, second = await take(pool), await take(pool)
        pool.release(first)
        pool.release(second)
        await second.lost
        assert first.ready
        await pool.close()


async def test_a_busy_connection_that_is_given_back_is_cut_off() -> None:
    async with RawService(raw.silent()) as service:
        pool = pool_of(service)
        connection = await take(pool)
        answer = connection.exchange(GET, b"", head_request=False, deadlines=Deadlines())
        answer.cancel()
        pool.release(connection)
        await connection.lost
        assert "open=0" in repr(pool)
        await pool.close()


async def test_what_is_cut_off_does_not_go_on_sending() -> None:
    async with RawService(hearing=raw.deaf, receive_buffer=4096) as service:
        pool = pool_of(service)
        connection = await take(pool)
        connection.exchange(GET, b"x" * (16 << 20), head_request=False, deadlines=Deadlines())
        pool.release(connection)
        await connection.lost  # at once, though most of the body was still to be sent
        await pool.close()


async def test_closed_under_the_request_is_told_from_not_sent() -> None:
    async with RawService(raw.replying(), raw.closing()) as service:
        pool = pool_of(service)
        connection = await use(pool)
        assert await pool.acquire() is connection
        failure = await connection.exchange(GET, b"", head_request=False, deadlines=Deadlines())
        assert isinstance(failure, Failure)
        assert (failure.phase, failure.kind, failure.sent) == (Phase.FIRST_BYTE, Kind.CLOSED, True)
        pool.release(connection)
        await pool.close()


async def test_a_port_where_nobody_listens_refuses() -> None:
    async with RawService() as service:
        pool = pool_of(service)
    failure = await pool.acquire()
    assert isinstance(failure, Failure)
    assert (failure.phase, failure.kind, failure.sent) == (Phase.CONNECT, Kind.REFUSED, False)
    assert str(service.port) in failure.detail
    await pool.close()


async def test_a_name_that_nobody_knows_is_unresolved() -> None:
    for name in ("nobody.invalid", "x" * 64 + ".invalid"):
        pool = Pool(parse_target(f"http://{name}"), clock=SystemClock(), idle=1)
        failure = await pool.acquire()
        assert isinstance(failure, Failure)
        assert (failure.phase, failure.kind, failure.sent) == (Phase.CONNECT, Kind.UNRESOLVED, False)
        assert name in failure.detail
        await pool.close()


async def test_a_silent_host_times_out() -> None:
    with silent_host("127.0.0.1") as port:
        pool = Pool(parse_target(f"http://127.0.0.1:{port}"), clock=SystemClock(), idle=1, connect=0.05)
        failure = await pool.acquire()
        assert isinstance(failure, Failure)
        assert (failure.phase, failure.kind, failure.sent) == (Phase.CONNECT, Kind.TIMEOUT, False)
        await pool.close()


async def test_a_service_that_resets_before_the_request_leaves_it_unsent() -> None:
    async with RawService(hearing=raw.reset_at_once) as service:
        pool = pool_of(service)
        connection = await take(pool)
        await connection.lost
        failure = await connection.exchange(GET, b"", head_request=False, deadlines=Deadlines())
        assert isinstance(failure, Failure)
        assert (failure.phase, failure.sent) == (Phase.SEND, False)
        pool.release(connection)
        await pool.close()


async def test_an_address_is_connected_to_in_place_of_the_name() -> None:
    async with RawService() as service:
        target = parse_target(f"http://auth.invalid:{service.port}")
        pool = Pool(target, clock=SystemClock(), idle=1, address="127.0.0.1")
        await use(pool)
        assert service.connections == 1
        await pool.close()


async def test_a_connection_begins_no_exchange_when_its_age_is_reached_and_ends_the_one_under_way() -> None:
    clock, go = MovableClock(), asyncio.Event()
    async with RawService(raw.replying(), raw.when(go)) as service:
        pool = pool_of(service, clock=clock)
        old = await pool.dial(retires_at=clock.now() + 2.0)
        assert isinstance(old, Connection)
        await old.exchange(GET, b"", head_request=False, deadlines=Deadlines())
        pool.release(old)
        assert pool.idle() is old
        answer = old.exchange(GET, b"", head_request=False, deadlines=Deadlines())
        await service.arrived(2)
        clock.ahead += 2.0
        go.set()
        assert isinstance(await answer, Reply)
        pool.release(old)
        assert pool.idle() is None
        await old.lost
        await pool.close()


async def test_an_idle_connection_that_reaches_its_age_is_not_used_again() -> None:
    clock = MovableClock()
    async with RawService() as service:
        pool = pool_of(service, clock=clock)
        old = await pool.dial(retires_at=clock.now() + 2.0)
        assert isinstance(old, Connection)
        pool.release(old)
        clock.ahead += 2.0
        assert await take(pool) is not old
        await old.lost
        await pool.close()


async def test_a_retired_pool_ends_what_is_under_way_and_begins_nothing() -> None:
    go = asyncio.Event()
    async with RawService(raw.when(go)) as service:
        pool = pool_of(service)
        idle, held, busy = await take(pool), await take(pool), await take(pool)
        pool.release(idle)
        answer = busy.exchange(GET, b"", head_request=False, deadlines=Deadlines())
        await service.arrived(1)
        pool.retire()
        assert not held.ready
        await idle.lost
        assert isinstance(await pool.acquire(), Failure)
        go.set()
        assert isinstance(await answer, Reply)
        for connection in (held, busy):
            pool.release(connection)
            await connection.lost
        assert pool.empty
        await pool.close()


async def test_a_cancelled_acquire_leaves_no_connection_behind() -> None:
    async with RawService() as service:
        for turns in range(6):
            pool = pool_of(service)
            acquiring = asyncio.ensure_future(pool.acquire())
            for _ in range(turns):
                await asyncio.sleep(0)
            acquiring.cancel()
            await asyncio.wait([acquiring])
            if not acquiring.cancelled():
                pool.release(await acquiring)  # type: ignore[arg-type]
            await pool.close()
        assert not service.requests


async def test_closing_ends_idle_and_busy_connections_and_refuses_more() -> None:
    async with RawService(raw.replying(), raw.silent()) as service:
        pool = pool_of(service)
        idle = await take(pool)
        busy = await take(pool)
        assert isinstance(await idle.exchange(GET, b"", head_request=False, deadlines=Deadlines()), Reply)
        pool.release(idle)
        answer = busy.exchange(GET, b"", head_request=False, deadlines=Deadlines())
        await service.arrived(2)
        await pool.close()
        assert isinstance(await answer, Failure)
        assert idle.lost.done()
        assert busy.lost.done()
        pool.release(busy)
        refused = await pool.acquire()
        assert isinstance(refused, Failure)
        assert refused.phase is Phase.CONNECT


@pytest.mark.parametrize(
    ("url", "authority", "base", "tls"),
    [
        ("http://auth.internal:8000", b"auth.internal:8000", b"", False),
        ("http://auth", b"auth", b"", False),
        ("http://auth:80/", b"auth", b"", False),
        ("https://auth:443/a/b/", b"auth", b"/a/b", True),
        ("https://auth:80", b"auth:80", b"", True),
        ("http://[::1]:9/%2e%2e//x", b"[::1]:9", b"/%2e%2e//x", False),
    ],
)
def test_a_url_is_taken_apart_once(url: str, authority: bytes, base: bytes, tls: bool) -> None:
    target = parse_target(url)
    assert (target.authority, target.base, target.tls) == (authority, base, tls)


@pytest.mark.parametrize(
    "url",
    [
        "auth:8000",
        "ftp://auth",
        "http://",
        "http://:80",
        "http://user:secret@auth",
        "http://auth/?q",
        "http://auth?",
        "http://auth/#f",
        "http://auth:0",
        "http://auth:99999",
        "http://auth:x",
        "http://auth/a b",
        "http://aüth",
        "http://auth/\r\nX: y",
    ],
)
def test_a_url_that_does_not_name_a_service_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_target(url)
