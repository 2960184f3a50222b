"""One connection against a raw service: every way to end, told apart, on both loops."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bufferproxy.clock import SystemClock
from bufferproxy.http1.client import IDLE, Connection, Deadlines
from bufferproxy.http1.dial import client_tls, dial
from bufferproxy.http1.reply import Failure, Kind, Phase, Reply, ReplyLimits
from bufferproxy.http1.target import parse_target
from bufferproxy.testing import raw_service as raw
from bufferproxy.testing.raw_service import RawService

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SOON = Deadlines(send=0.05, first_byte=0.05, whole=0.1)
LATER = Deadlines()
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


class MovableClock(SystemClock):
    """The system's clock, put forward by hand."""

    ahead = 0.0

    def now(self) -> float:  # type: ignore[override]
        return SystemClock.now() + self.ahead


@asynccontextmanager
async def connected(
    url: str,
    *,
    limits: ReplyLimits | None = None,
    tls: ssl.SSLContext | None = None,
    clock: SystemClock | None = None,
) -> AsyncIterator[Connection]:
    made = await dial(
        parse_target(url), within=5, clock=clock or SystemClock(), limits=ReplyLimits(), tls=tls
    )
    assert isinstance(made, Connection), made
    try:
        yield made
    finally:
        made.abort()
        await made.lost


async def once(
    service: RawService, request: bytes = GET, body: bytes = b"", deadlines: Deadlines = LATER
) -> Reply | Failure:
    async with service, connected(service.url) as connection:
        return await connection.exchange(request, body, head_request=False, deadlines=deadlines)


async def test_a_request_arrives_byte_for_byte_and_nothing_is_added() -> None:
    lines = [
        b'PROPFIND //a/../b/%2e%2E/{x}|"<>`^?a=%zz&&b=%00 HTTP/1.1',
        b"GET /a? HTTP/1.1",
        b"GET /? HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET /%C3%A9/%c3%a9;p=1//?//?? HTTP/1.1",
    ]
    fields = b"hOsT: a\r\nX: \xff\xe9\r\nx: 2\r\nX: 1\r\nEmpty: \r\nTabs: a\tb \r\n"
    async with RawService() as service, connected(service.url) as connection:
        for index, line in enumerate(lines):
            for body in (b"", b"\x00\xff\r\n\r\nGET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 1024):
                head = line + b"\r\n" + fields + b"Content-Length: %d\r\n\r\n" % len(body)
                reply = await connection.exchange(head, body, head_request=False, deadlines=LATER)
                assert isinstance(reply, Reply)
                assert service.requests[-1].raw == head + body
                assert service.requests[-1].connection == 0
            assert connection.exchanges == 3 * (index + 1)


async def test_the_write_happens_inside_the_call() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    async with connected(f"http://127.0.0.1:{listener.getsockname()[1]}") as connection:
        peer, _ = listener.accept()
        for body in (b"", b"b" * 1000, b"b" * 70_000):
            answer = connection.exchange(GET, body, head_request=False, deadlines=LATER)
            # No turn of the loop between the call and this blocking read.
            got = b""
            while len(got) < len(GET + body):
                got += peer.recv(1 << 17)
            assert got == GET + body
            peer.sendall(OK + b"Content-Length: 0\r\n\r\n")
            assert isinstance(await answer, Reply)
        peer.close()
    listener.close()


@pytest.mark.parametrize(
    ("behaviour", "body", "reusable"),
    [
        (raw.replying(), b"ok", True),
        (raw.chunked(b"a", b"bc", trailers=b"X: y\r\n"), b"abc", True),
        (raw.until_close(b"all"), b"all", False),
        (raw.not_kept_alive(b"bye"), b"bye", False),
        (raw.informed(100, 103), b"ok", True),
        (raw.trickling(raw.ok(b"drip")), b"drip", True),
        (raw.replying(raw.ok(b"x" * 300_000)), b"x" * 300_000, True),
        (raw.replying(raw.ok(b"ok") + b"junk"), b"ok", False),
    ],
)
async def test_replies_of_every_shape_are_read(behaviour: raw.Behaviour, body: bytes, reusable: bool) -> None:
    async with RawService(behaviour) as service, connected(service.url) as connection:
        reply = await connection.exchange(GET, b"", head_request=False, deadlines=LATER)
        assert isinstance(reply, Reply)
        assert (reply.status, reply.body) == (200, body)
        assert reply.head.endswith(b"\r\nContent-Length: %d\r\n" % len(body))
        assert connection.ready is reusable


async def test_a_reply_to_head_needs_no_body() -> None:
    service = RawService(raw.replying(raw.head(200, b"Content-Length: 99")))
    async with service, connected(service.url) as connection:
        for _ in range(2):
            reply = await connection.exchange(GET, b"", head_request=True, deadlines=LATER)
            assert reply == Reply(200, OK + b"Content-Length: 99\r\n", b"")
            assert connection.ready


@pytest.mark.parametrize(
    ("behaviour", "phase", "kind"),
    [
        (raw.silent(), Phase.FIRST_BYTE, Kind.TIMEOUT),
        (raw.silent(b"HTTP/1.1 200"), Phase.REPLY, Kind.TIMEOUT),
        (raw.silent(raw.head(200, b"Content-Length: 5")), Phase.REPLY, Kind.TIMEOUT),
        (raw.silent(raw.head(100)), Phase.REPLY, Kind.TIMEOUT),
        (raw.reset(), Phase.FIRST_BYTE, Kind.RESET),
        (raw.closing(), Phase.FIRST_BYTE, Kind.CLOSED),
        (raw.closing(b"HTTP/1.1 200 OK\r\n"), Phase.REPLY, Kind.CLOSED),
        (raw.closing(raw.head(200, b"Content-Length: 5") + b"four"), Phase.REPLY, Kind.CLOSED),
        (raw.closing(raw.head(200, b"Transfer-Encoding: chunked") + b"1\r\nx\r\n"), Phase.REPLY, Kind.CLOSED),
        (raw.garbage(), Phase.REPLY, Kind.GARBAGE),
        (raw.replying(raw.head(101, b"Upgrade: x", b"Connection: upgrade")), Phase.REPLY, Kind.GARBAGE),
    ],
)
async def test_each_way_to_fail_is_told_apart(behaviour: raw.Behaviour, phase: Phase, kind: Kind) -> None:
    deadlines = SOON if kind is Kind.TIMEOUT else LATER
    async with RawService(behaviour) as service, connected(service.url) as connection:
        failure = await connection.exchange(GET, b"", head_request=False, deadlines=deadlines)
        assert isinstance(failure, Failure)
        assert (failure.phase, failure.kind, failure.sent) == (phase, kind, True)
        assert failure.detail
        assert not connection.ready
        await connection.lost


class Watched(Connection):
    """Tells when the first byte of a reply has been read."""

    def __init__(self, url: str) -> None:
        super().__init__(parse_target(url), SystemClock(), ReplyLimits())
        self.heard = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.heard.set()


async def test_a_reset_in_the_middle_of_the_reply_is_a_reset() -> None:
    begun = asyncio.Event()

    async def behave(peer: raw.Peer, _: raw.Received) -> None:
        await peer.write(raw.head(200, b"Content-Length: 5"))
        await begun.wait()
        peer.reset()

    async with RawService(behave) as service:
        connection = Watched(service.url)
        await asyncio.get_running_loop().create_connection(lambda: connection, "127.0.0.1", service.port)
        answer = connection.exchange(GET, b"", head_request=False, deadlines=LATER)
        await connection.heard.wait()
        begun.set()
        failure = await answer
        assert isinstance(failure, Failure)
        assert (failure.phase, failure.kind, failure.sent) == (Phase.REPLY, Kind.RESET, True)


@pytest.mark.parametrize("how", ["abort", "close"])
async def test_half_a_reply_without_a_length_is_not_taken_for_a_whole_one(how: str) -> None:
    async with RawService(raw.silent(raw.head() + b"half of it")) as service:
        connection = Watched(service.url)
        await asyncio.get_running_loop().create_connection(lambda: connection, "127.0.0.1", service.port)
        answer = connection.exchange(GET, b"", head_request=False, deadlines=LATER)
        await connection.heard.wait()
        getattr(connection, how)()
        failure = await answer
        assert isinstance(failure, Failure)
        assert (failure.phase, failure.kind, failure.sent) == (Phase.REPLY, Kind.CLOSED, True)


async def test_a_service_that_does_not_read_fails_the_send() -> None:
    service = RawService(hearing=raw.deaf, receive_buffer=4096)
    failure = await once(service, body=b"x" * (16 << 20), deadlines=SOON)
    assert isinstance(failure, Failure)
    assert (failure.phase, failure.kind, failure.sent) == (Phase.SEND, Kind.TIMEOUT, True)


async def test_a_reset_during_the_send_fails_the_send() -> None:
    service = RawService(hearing=raw.reset_at_head, receive_buffer=4096)
    failure = await once(service, body=b"x" * (16 << 20))
    assert isinstance(failure, Failure)
    assert (failure.phase, failure.kind, failure.sent) == (Phase.SEND, Kind.RESET, True)


async def test_an_early_answer_counts_though_the_request_was_not_sent_whole() -> None:
    async def answer_the_head(_: RawService, peer: raw.Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.write(raw.ok(b"too large", status=413))
        await peer.reader.read(1 << 30)
        await asyncio.get_running_loop().create_future()

    service = RawService(hearing=answer_the_head, receive_buffer=4096)
    async with service, connected(service.url) as connection:
        reply = await connection.exchange(GET, b"x" * (16 << 20), head_request=False, deadlines=LATER)
        assert isinstance(reply, Reply)
        assert (reply.status, reply.body) == (413, b"too large")
        assert not connection.ready, "half a request lies in its buffers"


async def test_a_large_body_to_a_slow_reader_arrives_whole() -> None:
    body = bytes(range(256)) * 40_000
    async with RawService(receive_buffer=4096) as service, connected(service.url) as connection:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
        reply = await connection.exchange(head, body, head_request=False, deadlines=LATER)
        assert isinstance(reply, Reply)
        assert service.requests[0].body == body
        assert connection.ready


async def test_a_trickling_reply_ends_at_the_whole_deadline() -> None:
    behaviour = raw.trickling(raw.ok(b"x" * 100_000), every=lambda: asyncio.sleep(0.001))
    failure = await once(RawService(behaviour), deadlines=Deadlines(whole=0.1))
    assert isinstance(failure, Failure)
    assert (failure.phase, failure.kind) == (Phase.REPLY, Kind.TIMEOUT)


async def test_the_timer_of_an_earlier_exchange_does_not_end_a_later_one() -> None:
    gate = asyncio.Event()
    service = RawService(raw.replying(), raw.when(gate))
    async with service, connected(service.url) as connection:
        early = Deadlines(first_byte=0.02, whole=0.02)
        assert isinstance(await connection.exchange(GET, b"", head_request=False, deadlines=early), Reply)
        answer = connection.exchange(GET, b"", head_request=False, deadlines=LATER)
        await asyncio.wait([answer], timeout=0.05)  # past the first exchange's deadline
        assert not answer.done()
        gate.set()
        assert isinstance(await answer, Reply)


async def test_a_shorter_deadline_is_not_hidden_by_a_longer_one_before_it() -> None:
    service = RawService(raw.replying(), raw.silent())
    async with service, connected(service.url) as connection:
        assert isinstance(await connection.exchange(GET, b"", head_request=False, deadlines=LATER), Reply)
        failure = await connection.exchange(GET, b"", head_request=False, deadlines=SOON)
        assert isinstance(failure, Failure)
        assert failure.kind is Kind.TIMEOUT


@pytest.mark.parametrize("spoil", ["drop", "speak"])
async def test_a_connection_that_changed_while_idle_is_not_ready_and_sends_nothing(spoil: str) -> None:
    async with RawService() as service, connected(service.url) as connection:
        assert isinstance(await connection.exchange(GET, b"", head_request=False, deadlines=LATER), Reply)
        assert connection.ready
        await (service.drop_connections() if spoil == "drop" else service.say(b"HTTP/1.1 408 Bye\r\n\r\n"))
        await connection.lost
        assert not connection.ready
        failure = await connection.exchange(GET, b"", head_request=False, deadlines=LATER)
        assert isinstance(failure, Failure)
        assert (failure.phase, failure.kind, failure.sent) == (Phase.SEND, Kind.CLOSED, False)
        assert len(service.requests) == 1


async def test_a_connection_that_was_long_unused_is_not_trusted() -> None:
    clock = MovableClock()
    lines = {
        b"": IDLE,
        b"Keep-Alive: timeout=3": 2.0,
        b"Keep-Alive: timeout=60": IDLE,
        b"Keep-Alive: timeout=1": 0,
    }
    for line, seconds in lines.items():
        service = RawService(raw.replying(raw.ok(b"", *([line] if line else []))))
        async with service, connected(service.url, clock=clock) as connection:
            await connection.exchange(GET, b"", head_request=False, deadlines=LATER)
            assert connection.ready is (seconds > 0)
            clock.ahead += max(seconds - 0.5, 0)
            assert connection.ready is (seconds > 0)
            clock.ahead += 0.6
            assert not connection.ready


async def test_who_stops_waiting_leaves_a_busy_connection() -> None:
    async with RawService(raw.silent()) as service, connected(service.url) as connection:
        answer = connection.exchange(GET, b"", head_request=False, deadlines=SOON)
        with pytest.raises(RuntimeError):
            connection.exchange(GET, b"", head_request=False, deadlines=LATER)
        answer.cancel()
        assert connection.busy
        assert not connection.ready
        await connection.lost  # the deadline cuts it: nothing is raised into the loop
        assert not connection.busy


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2",
         "-keyout", str(key), "-out", str(cert)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return cert, key


def server_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


async def test_tls_carries_the_same_bytes(certificate: tuple[Path, Path]) -> None:
    body = bytes(range(256)) * 4000
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    service = RawService(raw.replying(raw.ok(body)), tls=server_tls(certificate))
    async with service, connected(service.url, tls=client_tls(certificate[0])) as connection:
        for _ in range(2):
            reply = await connection.exchange(head, body, head_request=False, deadlines=LATER)
            assert isinstance(reply, Reply)
            assert reply.body == body
            assert service.requests[-1].raw == head + body
            assert connection.ready


async def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: tuple[Path, Path]) -> None:
    async with RawService(tls=server_tls(certificate)) as service:
        target = parse_target(service.url)
        made = await dial(target, within=5, clock=SystemClock(), limits=ReplyLimits(), tls=client_tls())
        assert isinstance(made, Failure)
        assert (made.phase, made.kind, made.sent) == (Phase.CONNECT, Kind.TLS, False)
        assert "certificate" in made.detail.lower()


async def test_a_service_that_does_not_speak_tls_is_told_apart() -> None:
    async def plain(_: RawService, peer: raw.Peer) -> None:
        await peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.gone()

    async with RawService(hearing=plain) as service:
        target = parse_target(f"https://127.0.0.1:{service.port}")
        made = await dial(target, within=5, clock=SystemClock(), limits=ReplyLimits(), tls=client_tls())
        assert isinstance(made, Failure)
        assert (made.phase, made.kind, made.sent) == (Phase.CONNECT, Kind.TLS, False)


async def test_a_service_that_wants_a_certificate_gets_it(certificate: tuple[Path, Path]) -> None:
    context = server_tls(certificate)
    context.load_verify_locations(certificate[0])
    context.verify_mode = ssl.CERT_REQUIRED
    own = client_tls(certificate[0], *certificate)
    async with RawService(tls=context) as service, connected(service.url, tls=own) as connection:
        assert isinstance(await connection.exchange(GET, b"", head_request=False, deadlines=LATER), Reply)


async def test_a_certificate_for_another_name_is_refused(certificate: tuple[Path, Path]) -> None:
    async with RawService(tls=server_tls(certificate)) as service:
        target = parse_target(f"https://localhost:{service.port}")
        tls = client_tls(certificate[0])
        made = await dial(target, within=5, clock=SystemClock(), limits=ReplyLimits(), tls=tls)
        assert isinstance(made, Failure)
        assert made.kind in {
            Kind.TLS,
            Kind.REFUSED,
        }  # ::1, where nobody listens, may be tried last


async def test_over_tls_a_farewell_ends_a_body_without_a_length(certificate: tuple[Path, Path]) -> None:
    service = RawService(raw.until_close(b"whole"), tls=server_tls(certificate))
    async with service, connected(service.url, tls=client_tls(certificate[0])) as connection:
        reply = await connection.exchange(GET, b"", head_request=False, deadlines=LATER)
        assert isinstance(reply, Reply)
        assert reply.body == b"whole"


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})])  # asyncio's own TLS hides it
async def test_over_tls_a_cut_does_not_end_a_body_without_a_length(certificate: tuple[Path, Path]) -> None:
    async def cut(peer: raw.Peer, _: raw.Received) -> None:
        await peer.write(raw.head() + b"half")
        peer.cut()

    service = RawService(cut, tls=server_tls(certificate))
    async with service, connected(service.url, tls=client_tls(certificate[0])) as connection:
        failure = await connection.exchange(GET, b"", head_request=False, deadlines=LATER)
        assert isinstance(failure, Failure)
        assert (failure.phase, failure.sent) == (Phase.REPLY, True)
