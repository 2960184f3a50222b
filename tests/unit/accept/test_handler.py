"""From a caller's bytes to the entry that is stored, and from what the log says to the caller's answer."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest

from bufferproxy import envelope, ids
from bufferproxy.accept.admission import Limits, Outlook
from bufferproxy.accept.backlog import Backlog
from bufferproxy.accept.front import Front, KeySource, Terms
from bufferproxy.accept.handler import Intake
from bufferproxy.accept.routing import Match, Router
from bufferproxy.errors import AppendRefused, AppendTooLarge, AppendUncertain, StorageFull
from bufferproxy.http1 import limits
from bufferproxy.http1.endpoint import Endpoint
from bufferproxy.http1.problems import Problem
from bufferproxy.http1.server import protocol_class
from bufferproxy.log.contract import Appended, Done, LogWriter
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.observe.events import Accepted, Event, Refused
from bufferproxy.records import Change, Entry, Partition, Position, Record, State
from bufferproxy.results.watchers import Watchers
from bufferproxy.testing.clock import FakeClock

NAMES = ServiceTopics.of("auth")
REQUESTS = Partition(NAMES.requests, 0)
TERMS = Terms(50_000, 0.0, 30.0, 3600.0, 2, Limits(3, 100_000, 1000.0), "none", None)
ME = b"bufferproxy-00ff"


class Log(LogWriter):
    """Decides when it is told to."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._waiting: list[Done] = []

    def submit(self, partition: Partition, entry: Entry, done: Done) -> None:
        self.entries.append(entry)
        self._waiting.append(done)

    def partitions(self, topic: str) -> int:
        return 1

    def decide(self, *results: Appended) -> None:
        for result in results:
            self._waiting.pop(0)(result)

    def ids(self) -> list[str]:
        """As a worker derives them."""
        return [
            envelope.request_of(Record(REQUESTS, offset, *entry, 0.0), ids.service_number("auth"), 0).id
            for offset, entry in enumerate(self.entries)
        ]

    def store(self) -> None:
        first = len(self.entries) - len(self._waiting)
        self.decide(*(Position(REQUESTS, first + n) for n in range(len(self._waiting))))


class Caller(asyncio.Transport):
    def __init__(self, world: World, client: str) -> None:
        super().__init__({"peername": (client, 1)})
        self._wire = protocol_class(world.endpoint)()
        self._wire.connection_made(self)
        self._got = b""

    def send(self, data: bytes) -> None:
        self._wire.data_received(data)

    def hang_up(self) -> None:
        self._wire.connection_lost(None)

    def reply(self) -> tuple[int, dict[str, str], bytes]:
        head, _, body = self._got.partition(b"\r\n\r\n")
        self._got = b""
        lines = head.decode().split("\r\n")
        return int(lines[0].split()[1]), dict(line.split(": ", 1) for line in lines[1:]), body

    @property
    def waits(self) -> bool:
        return not self._got

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._got += bytes(data)

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


class World:
    def __init__(self, **terms: Any) -> None:
        self.clock = FakeClock()
        self.log = Log()
        self.events: list[Event] = []
        self.watchers = Watchers()
        self.front = Front("auth", NAMES, (REQUESTS,), TERMS._replace(**terms), Backlog(1.0, exact=True))
        router = Router([(Match(b"/auth", strip=True), self.front)])
        self.intake = Intake(router, self.log, self.watchers, ME, self.clock, self.events.append)
        self.endpoint = Endpoint(self.intake, limits.Limits(), self.clock)

    def call(self, client: str = "192.0.2.1") -> Caller:
        return Caller(self, client)

    def ask(self, request: bytes, client: str = "192.0.2.1") -> tuple[int, dict[str, str], bytes]:
        """What a caller gets whose request is stored at once."""
        caller = self.call(client)
        caller.send(request)
        self.log.store()
        return caller.reply()


def request(
    *lines: bytes, method: bytes = b"POST", target: bytes = b"/auth/x?q", body: bytes = b"abc"
) -> bytes:
    fields = b"".join(line + b"\r\n" for line in lines)
    return b"%b %b HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n%b" % (
        method,
        target,
        fields,
        len(body),
        body,
    )


def slug(body: bytes) -> str:
    return str(json.loads(body)["type"]).rpartition(":")[2]


@pytest.fixture
async def world() -> World:
    return World()


async def test_what_is_stored_is_what_was_sent_and_the_caller_learns_its_id(world: World) -> None:
    for turn in range(3):
        status, head, body = world.ask(request(b"X: y", b"Idempotency-Key: k"))
        entry, at = world.log.entries[-1], int(world.clock.wall() * 1000)
        nonce = dict(entry.headers)["bufferproxy-nonce"]
        id_ = ids.id_of(ids.Identity(world.front.number, ids.REQUESTS, 0, turn, 0, nonce))
        assert entry == envelope.accepted(
            key=None,
            head=b"POST /x?q HTTP/1.1\r\nHost: a\r\nX: y\r\nIdempotency-Key: k\r\nContent-Length: 3\r\n"
            b"Via: 1.1 bufferproxy-00ff\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n"
            b"X-Forwarded-Host: a\r\nX-Forwarded-Prefix: /auth\r\n",
            body=b"abc",
            accepted_at=at,
            nonce=nonce,
            results=0,
            idempotency_key=b"k",
            expires_at=at + 3_600_000,
        )
        assert (status, head["Bufferproxy-Id"], json.loads(body)["id"]) == (202, id_, id_)
        assert head["Bufferproxy-Position"] == str(turn + 1)
        assert world.events[-1] == Accepted("auth", 3, 0.0)


async def test_callers_who_send_the_same_head_keep_their_address_and_their_body(world: World) -> None:
    for client, body in (("192.0.2.1", b"abc"), ("192.0.2.2", b"def"), ("192.0.2.1", b"ghi")):
        world.ask(request(body=body), client)
        assert (
            b"\r\nX-Forwarded-For: %b\r\n" % client.encode()
            in dict(world.log.entries[-1].headers)["bufferproxy-head"]
        )
        assert world.log.entries[-1].value == body


async def test_the_key_of_a_client_is_its_own_though_it_sends_what_others_send() -> None:
    world = World(order="key", key=KeySource("client"))
    for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        world.ask(request(), client)
    assert [entry.key for entry in world.log.entries] == [b"192.0.2.1", b"192.0.2.2", b"192.0.2.1"]


async def test_nobody_is_told_anything_before_the_log_has_decided(world: World) -> None:
    caller = world.call()
    caller.send(request())
    assert (caller.waits, world.front.backlog.requests, world.events) == (True, 1, [])
    world.log.store()
    assert not caller.waits


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StorageFull("no room"), "storage-full"),
        (AppendRefused("away"), "log-unavailable"),
        (AppendUncertain("lost"), "outcome-unknown"),
    ],
)
async def test_what_was_not_stored_is_refused_and_counts_no_more(
    world: World, error: Any, expected: str
) -> None:
    caller = world.call()
    caller.send(request())
    world.log.decide(error)
    status, _, body = caller.reply()
    assert (status, slug(body)) == (503, expected)
    assert (world.front.backlog.requests, world.front.backlog.size) == (0, 0)
    assert world.events == [Refused("auth", expected)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b"b" * (200 << 10), (413, "body-too-large")), (b"b", (431, "headers-too-large"))],
)
async def test_what_the_log_never_takes_is_no_matter_of_waiting(
    body: bytes, expected: tuple[int, str]
) -> None:
    """Somebody has made the topic smaller than what is accepted."""
    world = World(body=1 << 20, limits=Limits(3, 1 << 20, 1000.0))
    caller = world.call()
    caller.send(request(body=body))
    world.log.decide(AppendTooLarge("300000 bytes are more than the 99 of t"))
    status, headers, answer = caller.reply()
    assert (status, slug(answer)) == expected
    assert "Retry-After" not in headers
    assert world.front.backlog.requests == 0


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (request(target=b"/else"), (404, "no-service", None)),
        (request(b"Via: 1.1 " + ME), (508, "loop-detected", "auth")),
        (request(b"Prefer: wait=soon"), (400, "bad-preference", "auth")),
        (request(method=b"GET"), (405, "method-not-allowed", "auth")),
    ],
)
async def test_what_is_refused_is_refused_each_time(
    sent: bytes, expected: tuple[int, str, str | None]
) -> None:
    world = World(safe=None)
    for _ in range(3):
        status, _, body = world.ask(sent)
        assert (status, slug(body)) == expected[:2]
        assert world.events[-1] == Refused(expected[2], expected[1])
    assert not world.log.entries


async def test_a_full_backlog_refuses_a_head_that_was_taken_before(world: World) -> None:
    assert [world.ask(request())[0] for _ in range(4)] == [202, 202, 202, 503]
    world.front.backlog.finished()
    assert world.ask(request())[0] == 202


async def test_a_large_body_is_refused_by_its_head_when_there_is_no_room(world: World) -> None:
    for _ in range(3):
        world.ask(request())
    caller = world.call()
    caller.send(request(b"Expect: 100-continue", body=b"x" * 40_000)[:200].partition(b"xx")[0])
    status, _, body = caller.reply()
    assert (status, slug(body)) == (503, "backlog-full")


async def test_while_it_stops_it_refuses_what_it_took_before(world: World) -> None:
    world.ask(request())
    world.intake.refusing = Problem("draining", "", retry_after=1.0)
    assert slug(world.ask(request())[2]) == "draining"


async def test_the_proxys_own_paths_are_handed_on_with_the_prefix_that_is_set(world: World) -> None:
    seen = []

    class Own:
        def handle(self, exchange: Any) -> None:
            seen.append(exchange.target)
            exchange.reply(200, b"", b"")

    world.intake.own = Own()
    world.intake.prefix = "/own"
    for _ in range(3):
        assert world.ask(request(target=b"/own/requests/x", method=b"GET"))[0] == 200
    assert seen == [b"/own/requests/x"] * 3


# --- held -----------------------------------------------------------------------------------------------


def ended(id_: str, **fields: Any) -> Change:
    return Change(id_, State.DELIVERED, 0, 0, 1, 0, **fields)


async def test_who_waits_gets_the_services_answer(world: World) -> None:
    for _ in range(3):
        caller = world.call()
        caller.send(request(b"Prefer: wait=20"))
        world.log.store()
        assert (caller.waits, world.front.held, len(world.intake.held)) == (True, 1, 1)
        id_ = world.log.ids()[-1]
        world.watchers.tell(Change(id_, State.RETRYING, 0, 0, 1, 0))
        assert caller.waits
        world.watchers.tell(ended(id_, reply_head=b"HTTP/1.1 418 Tea\r\nA: b\r\n", reply_body=b"hot"))
        status, head, body = caller.reply()
        assert (status, head["A"], head["Bufferproxy-Id"], head["Preference-Applied"], body) == (
            418, "b", id_, "wait=20", b"hot",
        )  # fmt: skip
        assert (world.front.held, len(world.watchers), world.clock.waiting) == (0, 0, 0)
        world.front.backlog.finished()


async def test_who_waits_for_what_has_no_answer_learns_why(world: World) -> None:
    caller = world.call()
    caller.send(request(b"Prefer: wait=20"))
    world.log.store()
    (id_,) = world.log.ids()
    world.watchers.tell(ended(id_, error="reply-too-large"))
    assert slug(caller.reply()[2]) == "reply-too-large"


async def test_an_end_that_is_read_before_its_request_is_known_to_be_stored_is_answered_at_once(
    world: World,
) -> None:
    """Another process delivers it while the acknowledgement of the log is on its way to this one."""
    caller = world.call()
    caller.send(request(b"Prefer: wait=20"))
    (id_,) = world.log.ids()
    world.watchers.tell(ended(id_, reply_head=b"HTTP/1.1 418 Tea\r\n", reply_body=b"hot"))
    assert caller.waits, "until the log says so, nothing was accepted"
    world.log.store()
    status, head, body = caller.reply()
    assert (status, head["Bufferproxy-Id"], body) == (418, id_, b"hot")
    assert (world.front.held, len(world.watchers), world.clock.waiting) == (0, 0, 0)


async def test_an_end_that_is_read_early_is_what_a_caller_gets_though_the_process_ends(world: World) -> None:
    caller = world.call()
    caller.send(request(b"Prefer: wait=20"))
    world.watchers.tell(ended(*world.log.ids(), reply_head=b"HTTP/1.1 418 Tea\r\n", reply_body=b"hot"))
    world.intake.refusing = Problem("draining", "")
    world.log.store()
    assert caller.reply()[0] == 418


@pytest.mark.parametrize("refusal", [AppendRefused("no"), AppendUncertain("perhaps")])
async def test_nobody_waits_for_the_end_of_what_was_not_stored(
    world: World, refusal: AppendRefused | AppendUncertain
) -> None:
    caller = world.call()
    caller.send(request(b"Prefer: wait=20"))
    world.log.decide(refusal)
    assert caller.reply()[0] == 503
    assert len(world.watchers) == 0


async def test_who_hangs_up_before_the_log_has_decided_is_held_for_nothing(world: World) -> None:
    caller = world.call()
    caller.send(request(b"Prefer: wait=20"))
    caller.hang_up()
    world.log.store()
    assert (world.front.held, len(world.intake.held), len(world.watchers), world.clock.waiting) == (
        0,
        0,
        0,
        0,
    )


async def test_a_process_that_ends_watches_for_nobody(world: World) -> None:
    caller = world.call()
    caller.send(request(b"Prefer: wait=20"))
    world.intake.refusing = Problem("draining", "")
    world.log.store()
    assert caller.reply()[0] == 202
    assert len(world.watchers) == 0


async def test_who_waited_long_enough_gets_a_202_and_a_strict_caller_a_504(world: World) -> None:
    polite, strict = world.call(), world.call()
    polite.send(request(b"Prefer: wait=5"))
    strict.send(request(method=b"GET"))
    world.log.store()
    await world.clock.advance(5.0)
    assert polite.reply()[0] == 202
    assert strict.waits
    await world.clock.advance(25.0)
    status, head, body = strict.reply()
    assert (status, slug(body), len(head["Bufferproxy-Id"])) == (504, "not-in-time", 48)


async def test_who_hangs_up_is_waited_for_by_nobody(world: World) -> None:
    caller = world.call()
    caller.send(request(b"Prefer: wait=5"))
    world.log.store()
    caller.hang_up()
    assert (world.front.held, len(world.watchers), world.clock.waiting) == (0, 0, 0)


async def test_more_than_may_be_held_get_their_202_right_away(world: World) -> None:
    callers = [world.call() for _ in range(3)]
    for caller in callers:
        caller.send(request(b"Prefer: wait=20"))
        world.log.store()
    assert [caller.waits for caller in callers] == [True, True, False]
    world.intake.release_all()
    assert [caller.reply()[0] for caller in callers] == [202, 202, 202]
    assert world.front.held == 0


async def test_a_wait_that_is_foreseen_to_be_too_long_is_not_begun() -> None:
    world = World(safe=1.5)
    for _ in range(2):
        world.ask(request())
    assert world.ask(request(b"Prefer: wait=1"))[0] == 202
    assert "Retry-After" in world.ask(request(method=b"GET"))[1]
    assert world.events[-1] == Refused("auth", "backlog-full")
    world.front.backlog.finished()
    assert slug(world.ask(request(method=b"GET"))[2]) == "wait-too-long"


async def test_nobody_is_held_for_a_service_that_is_known_to_rest_for_longer(world: World) -> None:
    world.front.backlog.outlook = Outlook(40.0)
    status, head, body = world.ask(request(b"Prefer: wait=3"))
    assert (status, head["Retry-After"], json.loads(body)["eta_seconds"]) == (202, "40", 40.0)
    status, head, body = world.ask(request(method=b"GET"))
    assert (status, slug(body), head["Retry-After"]) == (503, "wait-too-long", "41")
    assert len(world.log.entries) == 1
    world.front.backlog.outlook = Outlook(0.5)
    caller = world.call()
    caller.send(request(method=b"GET"))
    world.log.store()
    assert caller.waits


async def test_who_waits_for_what_expires_before_the_rest_is_over_is_held_until_then(world: World) -> None:
    world.front.backlog.outlook = Outlook(40.0)
    caller = world.call()
    caller.send(request(b"Prefer: wait=20", b"Bufferproxy-Expires: 20s"))
    world.log.store()
    assert caller.waits
    assert world.ask(request(b"Prefer: wait=20", b"Bufferproxy-Expires: 21s"))[0] == 202


async def test_how_long_a_pause_lasts_nobody_knows(world: World) -> None:
    world.front.backlog.outlook = Outlook(math.inf)
    status, head, body = world.ask(request())
    assert (status, head["Retry-After"], json.loads(body)["eta_seconds"]) == (202, "60", None)
    status, head, body = world.ask(request(method=b"GET"))
    assert (status, slug(body), head["Retry-After"]) == (503, "wait-too-long", "60")
    assert "paused" in json.loads(body)["detail"]
