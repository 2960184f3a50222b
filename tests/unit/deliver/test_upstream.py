"""Several addresses behind a name, as real listeners on 127.0.0.1, .2 and .3: turns, moves and dead ones."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from bufferproxy.clock import SystemClock
from bufferproxy.deliver import upstream as upstream_module
from bufferproxy.deliver.balance import FIRST_LEFT_OUT_SECONDS
from bufferproxy.deliver.names import (
    ASK_AGAIN_SECONDS,
    GREATEST_AGE_SECONDS,
    LOOK_UP_PATIENCE_SECONDS,
    RETRY_SECONDS,
    Answer,
    NoAnswer,
)
from bufferproxy.deliver.upstream import STAGGER_SECONDS, Upstream
from bufferproxy.http1.client import Connection, Deadlines
from bufferproxy.http1.dial import client_tls
from bufferproxy.http1.pool import Pool
from bufferproxy.http1.reply import Failure, Kind, Phase, Reply
from bufferproxy.http1.target import parse_target
from bufferproxy.observe.events import AddressTurned, Event, LookUpFailed
from bufferproxy.testing import raw_service as raw
from bufferproxy.testing.ports import free_port
from bufferproxy.testing.raw_service import RawService, silent_host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ONE, TWO, THREE = "127.0.0.1", "127.0.0.2", "127.0.0.3"


class MovableClock(SystemClock):
    """The system's clock, put forward by hand."""

    ahead = 0.0

    def now(self) -> float:  # type: ignore[override]
        return SystemClock.now() + self.ahead


class Names:
    """A resolver that says what a test tells it to; `hang` while it is to say nothing."""

    def __init__(self, **hosts: list[str]) -> None:
        self.told: dict[str, Answer | NoAnswer | OSError] = {}
        self.asked: list[str] = []
        self.answering = asyncio.Event()
        self.answering.set()
        for host, addresses in hosts.items():
            self.moves(host, addresses)

    def moves(self, host: str, addresses: list[str], ttl: float | None = None) -> None:
        self.told[f"{host}.example"] = Answer(tuple(addresses), ttl)

    async def __call__(self, host: str, _port: int) -> Answer | NoAnswer:
        self.asked.append(host)
        await self.answering.wait()
        told = self.told[host]
        if isinstance(told, OSError):
            raise told
        return told


class World:
    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.port = free_port()
        self.clock = MovableClock()
        self.names = Names()
        self.events: list[Event] = []
        self.services: dict[str, RawService] = {}
        self.upstream: Upstream

    async def listen(self, *hosts: str, behaviour: raw.Behaviour | None = None) -> None:
        for host in hosts:
            service = RawService(behaviour or raw.replying(), host=host, port=self.port)
            self.services[host] = await self._stack.enter_async_context(service)

    async def fall(self, host: str) -> RawService:
        """Nobody listens there any more, and its connections are cut."""
        service = self.services[host]
        await service.__aexit__(None, None, None)
        return service

    def serve(self, *hosts: str, connect: float = 5.0, **named: list[str]) -> Upstream:
        """The service at these hosts' URLs; `named`: what `host.example` stands for."""
        for host, addresses in named.items():
            self.names.moves(host, addresses)
        hosts = hosts or tuple(f"{host}.example" for host in named)
        self.upstream = Upstream(
            [parse_target(f"http://{host}:{self.port}") for host in hosts],
            clock=self.clock,
            idle=8,
            connect=connect,
            resolve=self.names,
            service="auth",
            emit=self.events.append,
        )
        self._stack.push_async_callback(self.upstream.close)
        return self.upstream

    async def take(self) -> Connection:
        connection = self.upstream.idle() or await self.upstream.acquire()
        assert isinstance(connection, Connection), connection
        return connection

    async def send(self, number: int = 0) -> Connection:
        connection = await self.take()
        head = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number
        try:
            reply = await connection.exchange(head, b"", head_request=False, deadlines=Deadlines())
            assert isinstance(reply, Reply), reply
        finally:
            self.upstream.release(connection)
        return connection

    async def send_many(self, count: int, *, at_once: int = 8) -> None:
        numbers = iter(range(count))

        async def deliver() -> None:
            for number in numbers:
                await self.send(number)

        await asyncio.gather(*(deliver() for _ in range(at_once)))

    def received(self) -> Counter[str]:
        return Counter({host: len(service.requests) for host, service in self.services.items()})

    def forget(self) -> None:
        for service in self.services.values():
            service.requests.clear()

    async def look_up(self) -> None:
        """What a sweep of the pools does now and then; until the look-up is over."""
        asked = len(self.names.asked)
        self.upstream.tend()
        await self.until(lambda: len(self.names.asked) > asked)
        await turns()

    async def until(self, done: object) -> None:
        async with asyncio.timeout(10):
            while not done():  # type: ignore[operator]
                await turns()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(stack)


# --- turns ---


@pytest.mark.parametrize("at_once", [1, 8])
async def test_of_three_addresses_each_gets_a_third(world: World, at_once: int) -> None:
    await world.listen(ONE, TWO, THREE)
    world.serve(auth=[ONE, TWO, THREE])
    await world.send_many(300, at_once=at_once)
    assert all(90 <= count <= 110 for count in world.received().values()), world.received()
    assert all(service.connections <= at_once for service in world.services.values())


async def test_urls_have_equal_parts_and_so_have_the_addresses_of_each(world: World) -> None:
    await world.listen(ONE, TWO, THREE)
    world.serve(ONE, "pair.example", pair=[TWO, THREE])
    await world.send_many(20)  # until the name is resolved, the address has all
    world.forget()
    await world.send_many(200)
    assert world.received() == Counter({ONE: 100, TWO: 50, THREE: 50})


async def test_a_connection_is_renewed_within_a_minute_of_steady_use_and_not_at_once(world: World) -> None:
    await world.listen(ONE)
    world.serve(ONE)
    first = await world.send()
    lived = 0.0
    while await world.send() is first:
        world.clock.ahead += 2.0
        lived += 2.0
    assert 0.7 * GREATEST_AGE_SECONDS < lived <= GREATEST_AGE_SECONDS
    assert not first.ready
    await first.lost


async def test_a_connection_is_used_for_half_a_minute_beyond_a_known_time_to_live(world: World) -> None:
    await world.listen(ONE)
    world.names.moves("auth", [ONE], ttl=200.0)
    world.serve("auth.example")
    first = await world.send()
    lived = 0.0
    while await world.send() is first:
        world.clock.ahead += 2.0
        lived += 2.0
    assert 0.7 * 230.0 < lived <= 230.0


# --- a name that moves ---


async def test_a_name_that_moves_under_traffic_is_followed_and_nothing_is_lost_or_sent_twice(
    world: World,
) -> None:
    await world.listen(ONE, TWO)
    world.serve(auth=[ONE])
    stop = asyncio.Event()
    sent = 0

    async def deliver() -> None:
        nonlocal sent
        while not stop.is_set():
            sent += 1
            await world.send(sent)

    delivering = [asyncio.ensure_future(deliver()) for _ in range(4)]
    await world.services[ONE].arrived(100)
    for task in delivering:
        task.add_done_callback(lambda _: stop.set())
    world.names.moves("auth", [TWO])
    world.clock.ahead += ASK_AGAIN_SECONDS
    await world.until(lambda: stop.is_set() or len(world.services[TWO].requests) > 20)
    old = len(world.services[ONE].requests)
    await world.until(lambda: stop.is_set() or len(world.services[TWO].requests) > 220)
    stop.set()
    await asyncio.gather(*delivering)
    assert len(world.services[ONE].requests) == old, "nothing goes to where the name was"
    lines = [received.line for service in world.services.values() for received in service.requests]
    assert len(lines) == len(set(lines)) == sent


async def test_while_traffic_flows_over_idle_connections_the_name_is_asked_again(world: World) -> None:
    await world.listen(ONE, TWO)
    world.serve(auth=[ONE])
    old = await world.send()
    world.names.moves("auth", [TWO])
    world.clock.ahead += ASK_AGAIN_SECONDS
    assert old.pool is not None
    old.pool._sweep()
    await world.until(lambda: len(world.names.asked) == 2)
    await old.lost
    assert (await world.send()).pool is not old.pool


async def test_a_name_that_moves_while_its_old_address_is_connected_to_is_followed_at_once(
    world: World,
) -> None:
    await world.listen(TWO)
    with silent_host(ONE, world.port):
        upstream = world.serve(auth=[ONE], connect=30.0)
        acquiring = asyncio.ensure_future(upstream.acquire())
        await world.until(lambda: upstream._dials)
        world.names.moves("auth", [TWO])
        world.clock.ahead += ASK_AGAIN_SECONDS
        upstream.tend()
        connection = await asyncio.wait_for(acquiring, 1.0)
        assert isinstance(connection, Connection)
        assert connection.pool is not None
        assert connection.pool.address == TWO
        upstream.release(connection)


async def test_what_is_under_way_to_an_old_address_ends_and_what_is_held_ready_is_not_sent(
    world: World,
) -> None:
    go = asyncio.Event()
    await world.listen(ONE, behaviour=raw.when(go))
    await world.listen(TWO)
    upstream = world.serve(auth=[ONE])
    upstream.release(await world.take())
    world.clock.ahead += ASK_AGAIN_SECONDS - 1
    busy, held = await world.take(), await world.take()
    answer = busy.exchange(b"GET / HTTP/1.1\r\n\r\n", b"", head_request=False, deadlines=Deadlines())
    await world.services[ONE].arrived(1)
    world.names.moves("auth", [TWO])
    world.clock.ahead += 1
    assert held.ready
    await world.look_up()
    assert not held.ready
    go.set()
    assert isinstance(await answer, Reply)
    for connection in (busy, held):
        world.upstream.release(connection)
        await connection.lost
    await world.send()
    world.upstream.tend()
    assert world.upstream._gone == []
    assert world.received() == Counter({ONE: 1, TWO: 1})


async def test_a_new_address_takes_turns_and_those_that_stay_keep_their_connections(world: World) -> None:
    await world.listen(ONE, TWO)
    world.serve(auth=[ONE])
    first = await world.send()
    world.names.moves("auth", [TWO, ONE])
    world.clock.ahead += ASK_AGAIN_SECONDS - 1
    await world.send()  # a fresh one, which is still good after the next second
    kept = await world.send()
    world.clock.ahead += 1
    await world.look_up()
    assert {await world.send(), await world.send()} - {first} > {kept}
    assert world.received()[TWO] == 1


async def test_an_outage_of_the_resolver_is_none_of_the_service_and_is_told(world: World) -> None:
    await world.listen(ONE)
    world.serve(auth=[ONE])
    await world.send()
    world.names.told["auth.example"] = NoAnswer("Temporary failure in name resolution")
    for _ in range(5):
        world.clock.ahead += 2 * GREATEST_AGE_SECONDS
        await world.send()
    assert world.received()[ONE] == 6
    failed = LookUpFailed("auth", "auth.example", "Temporary failure in name resolution", kept=True)
    assert set(world.events) == {failed}


async def test_a_resolver_that_hangs_holds_a_connect_up_for_a_second_once(world: World) -> None:
    await world.listen(ONE)
    world.serve(auth=[ONE])
    await world.send()
    world.names.answering.clear()
    world.clock.ahead += GREATEST_AGE_SECONDS  # too old to be trusted before somebody is asked
    began = SystemClock.now()
    await world.send()
    first = SystemClock.now() - began
    world.clock.ahead += GREATEST_AGE_SECONDS
    await world.send()
    assert LOOK_UP_PATIENCE_SECONDS * 0.9 < first < LOOK_UP_PATIENCE_SECONDS + 0.8
    assert SystemClock.now() - began - first < 0.5
    assert len(world.names.asked) == 2, "one look-up at a time"


async def test_a_name_without_addresses_is_believed_and_comes_back(world: World) -> None:
    await world.listen(ONE)
    world.serve(auth=[ONE])
    await world.send()
    world.clock.ahead += ASK_AGAIN_SECONDS - 1
    old = await world.send()
    world.names.told["auth.example"] = Answer((), detail="Name or service not known")
    world.clock.ahead += 1
    assert old.ready
    await world.look_up()
    assert not old.ready
    await old.lost
    failure = await world.upstream.acquire()
    assert isinstance(failure, Failure)
    assert (failure.phase, failure.kind, failure.sent) == (Phase.CONNECT, Kind.UNRESOLVED, False)
    assert failure.detail == "auth.example: Name or service not known"
    world.names.moves("auth", [ONE])
    world.clock.ahead += RETRY_SECONDS
    await world.send()


async def test_a_url_that_is_not_resolved_leaves_the_others_their_work(world: World) -> None:
    await world.listen(ONE)
    world.names.told["gone.example"] = Answer((), detail="Name or service not known")
    world.serve("gone.example", ONE)
    await world.send_many(10)
    assert world.received()[ONE] == 10


async def test_a_resolver_that_never_answers_times_out(world: World) -> None:
    world.names.answering.clear()
    world.serve(auth=[ONE], connect=0.05)
    failure = await world.upstream.acquire()
    assert isinstance(failure, Failure)
    assert (failure.phase, failure.kind) == (Phase.CONNECT, Kind.TIMEOUT)
    assert "auth.example" in failure.detail


async def test_a_resolver_may_refuse(world: World) -> None:
    world.names.told["auth.example"] = OSError("auth.example is a private address")
    world.serve("auth.example")
    failure = await world.upstream.acquire()
    assert isinstance(failure, Failure)
    assert failure.kind is Kind.UNRESOLVED
    assert "private" in failure.detail


async def test_a_name_is_looked_up_once_for_all_who_ask_in_the_meantime(world: World) -> None:
    await world.listen(ONE)
    world.names.answering.clear()
    upstream = world.serve(auth=[ONE])
    acquiring = [asyncio.ensure_future(upstream.acquire()) for _ in range(4)]
    await turns()
    acquiring[0].cancel()  # who leaves takes nobody along
    await asyncio.wait(acquiring[:1])
    world.names.answering.set()
    made = await asyncio.gather(*acquiring[1:])
    assert all(isinstance(connection, Connection) for connection in made)
    assert world.names.asked == ["auth.example"]


# --- addresses that cannot be connected to ---


async def test_one_dead_address_of_three_costs_the_others_nothing(world: World) -> None:
    await world.listen(ONE, THREE)
    world.serve(auth=[ONE, TWO, THREE])
    await world.send_many(200)
    assert all(90 <= count <= 110 for count in world.received().values()), world.received()
    assert world.received().total() == 200
    (told,) = world.events
    assert isinstance(told, AddressTurned)
    assert (told.service, told.address, told.reachable) == ("auth", f"{TWO} port {world.port}", False)


async def test_an_address_that_is_back_is_tried_once_and_takes_turns_again(world: World) -> None:
    await world.listen(ONE, TWO, THREE)
    world.serve(auth=[ONE, TWO, THREE])
    await world.send_many(30)
    fallen = await world.fall(TWO)
    await world.send_many(30)
    async with fallen:
        world.forget()
        connections = fallen.connections
        await world.send_many(20)
        assert world.received()[TWO] == 0, "its time is not over"
        world.clock.ahead += FIRST_LEFT_OUT_SECONDS
        world.upstream.tend()
        world.upstream.tend()
        await world.until(lambda: fallen.connections == connections + 1)
        await world.until(lambda: len(world.events) == 2)
        world.forget()
        await world.send_many(300)
        assert all(90 <= count <= 110 for count in world.received().values()), world.received()
    assert [told.reachable for told in world.events if isinstance(told, AddressTurned)] == [False, True]


async def test_a_silent_address_holds_nobody_up_for_longer_than_the_first_moment(world: World) -> None:
    await world.listen(ONE, THREE)
    with silent_host(TWO, world.port):
        world.serve(auth=[ONE, TWO, THREE], connect=2.0)
        began = SystemClock.now()
        await world.send_many(100, at_once=8)
        first = SystemClock.now() - began
        await world.send_many(100, at_once=8)
        assert first < STAGGER_SECONDS + 0.7
        assert SystemClock.now() - began - first < STAGGER_SECONDS
        assert sum(world.received().values()) == 200


async def test_a_url_that_is_silent_is_passed_over_too(world: World) -> None:
    await world.listen(ONE)
    with silent_host(TWO, world.port):
        world.serve(TWO, ONE, connect=2.0)
        began = SystemClock.now()
        await world.send_many(50)
        assert SystemClock.now() - began < STAGGER_SECONDS + 0.7
        assert world.received()[ONE] == 50


async def test_a_connection_that_comes_late_is_kept_for_the_next_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_module, "STAGGER_SECONDS", 0.01)
    await world.listen(ONE, TWO)
    go = asyncio.Event()
    dial = Pool.dial

    async def slow(pool: Pool, **given: float) -> Connection | Failure:
        if pool.address == ONE:
            await go.wait()
        return await dial(pool, **given)

    monkeypatch.setattr(Pool, "dial", slow)
    world.serve(auth=[ONE, TWO])
    assert (await world.send()).pool is (await world.send()).pool
    go.set()
    await world.until(lambda: world.services[ONE].connections == 1 and not world.upstream._dials)
    await world.send_many(10, at_once=1)
    assert world.received() == Counter({ONE: 5, TWO: 7})
    assert world.services[ONE].connections == 1
    assert world.events == [], "slow is not dead"


async def test_when_none_can_be_reached_that_is_one_failure_and_any_that_is_back_is_found(
    world: World,
) -> None:
    world.serve(auth=[ONE, TWO, THREE])
    failure = await world.upstream.acquire()
    assert isinstance(failure, Failure)
    assert (failure.phase, failure.kind, failure.sent) == (Phase.CONNECT, Kind.REFUSED, False)
    await world.listen(THREE)
    await world.send()
    await world.send_many(10)
    assert world.received()[THREE] == 11


async def test_a_failed_connect_asks_for_the_name_again(world: World) -> None:
    await world.listen(TWO)
    world.serve(auth=[ONE])
    assert isinstance(await world.upstream.acquire(), Failure)
    world.names.moves("auth", [TWO])
    assert isinstance(await world.upstream.acquire(), Failure), "not more than once a second"
    world.clock.ahead += RETRY_SECONDS
    await world.send()
    assert len(world.names.asked) == 2


async def test_the_only_address_silent_times_out_with_its_name(world: World) -> None:
    with silent_host(TWO, world.port):
        world.serve(TWO, connect=0.05)
        failure = await world.upstream.acquire()
    assert isinstance(failure, Failure)
    assert (failure.phase, failure.kind, failure.sent) == (Phase.CONNECT, Kind.TIMEOUT, False)
    assert TWO in failure.detail


# --- TLS ---


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for auth.example, and its key."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=test", "-addext", "subjectAltName=DNS:auth.example", "-days", "2",
         "-keyout", str(key), "-out", str(cert)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return cert, key


async def test_the_certificate_must_name_the_host_whatever_address_is_connected_to(
    world: World, certificate: tuple[Path, Path]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    async with RawService(tls=context) as service:
        for host in ("auth", "other"):
            world.names.moves(host, [ONE])
            upstream = Upstream(
                [parse_target(f"https://{host}.example:{service.port}")],
                clock=world.clock,
                idle=1,
                tls=client_tls(certificate[0]),
                resolve=world.names,
            )
            made = await upstream.acquire()
            if host == "auth":
                assert isinstance(made, Connection), made
                upstream.release(made)
            else:
                assert isinstance(made, Failure)
                assert made.kind is Kind.TLS
            await upstream.close()


# --- the end ---


async def test_who_is_cancelled_leaves_no_connection_behind(world: World) -> None:
    await world.listen(ONE)
    for moment in range(8):
        upstream = world.serve(auth=[ONE])
        acquiring = asyncio.ensure_future(upstream.acquire())
        for _ in range(moment):
            await asyncio.sleep(0)
        acquiring.cancel()
        await asyncio.wait([acquiring])
        if not acquiring.cancelled():
            upstream.release(await acquiring)  # type: ignore[arg-type]
        await upstream.close()
        assert "open=1" not in repr([target.pools for target in upstream._resolved])


async def test_closing_ends_look_ups_and_connects_that_hang_and_who_waits_for_them_is_told(
    world: World,
) -> None:
    await world.listen(ONE)
    with silent_host(TWO, world.port):
        upstream = world.serve(TWO)
        acquiring = asyncio.ensure_future(upstream.acquire())
        await world.until(lambda: upstream._dials)
        await upstream.close()
        told = await acquiring
        assert isinstance(told, Failure)
        assert told.kind is Kind.CLOSED
    world.names.answering.clear()
    upstream = world.serve(auth=[ONE])
    acquiring = asyncio.ensure_future(upstream.acquire())
    await world.until(lambda: world.names.asked)
    await upstream.close()
    told = await acquiring
    assert isinstance(told, Failure)
    assert isinstance(await upstream.acquire(), Failure)


def test_a_service_without_targets_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="target"):
        Upstream([], clock=SystemClock(), idle=1)
