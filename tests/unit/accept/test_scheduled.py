"""Where what is scheduled is accepted, and what its caller is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bufferproxy.accept.admission import Limits
from bufferproxy.accept.backlog import Backlog
from bufferproxy.accept.demand import Demand
from bufferproxy.accept.front import Front, Terms
from bufferproxy.accept.handler import Intake
from bufferproxy.accept.routing import Match, Router
from bufferproxy.envelope import request_of
from bufferproxy.http1.framing import Head
from bufferproxy.ids import DELAYED, HIGH, LOW, REQUESTS, parse_id
from bufferproxy.log.contract import Done, LogWriter
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Entry, Partition, Position, Priority, Record, Request
from bufferproxy.results.watchers import Watchers
from bufferproxy.testing.clock import FakeClock

NAMES = ServiceTopics.of("auth", priorities=True)
TERMS = Terms(
    50_000, 0.0, 30.0, 3600.0, 2, Limits(9, 100_000, 1000.0), "none", None,
    priority=Priority.NORMAL, priority_told=True,
)  # fmt: skip
OFFSET = 7


class Log(LogWriter):
    """Stores everything at once, at the same offset."""

    short = False

    def __init__(self) -> None:
        self.stored: list[tuple[Partition, Entry]] = []

    def submit(self, partition: Partition, entry: Entry, done: Done) -> None:
        self.stored.append((partition, entry))
        done(Position(partition, OFFSET))

    def partitions(self, topic: str) -> int:
        return 1


class Exchange:
    """As the wire hands it on."""

    client, scheme, body = "192.0.2.1", "http", b"abc"
    received_at = 0.0
    context: Any = None
    on_hangup: Any = None
    gone = False

    def __init__(self, head: Head) -> None:
        self.head = head
        self.answer: tuple[int, dict[str, Any]] = (0, {})

    def reply(self, status: int, head: bytes, body: bytes) -> None:
        self.answer = (status, json.loads(body))

    def refuse(self, problem: Any) -> None:
        self.answer = (0, {"slug": problem.slug})


class World:
    def __init__(self, **terms: Any) -> None:
        self.clock = FakeClock()
        self.log = Log()
        places = tuple(Partition(NAMES.requests, n) for n in range(2))
        self.front = Front("auth", NAMES, places, TERMS._replace(**terms), Backlog(1.0, exact=True))
        router = Router([(Match(), self.front)])
        self.intake = Intake(router, self.log, Watchers(), b"me", self.clock, lambda _: None)

    @property
    def now(self) -> int:
        return int(self.clock.wall() * 1000)

    def ask(self, *fields: tuple[bytes, bytes], method: bytes = b"POST") -> dict[str, Any]:
        names = {name.lower(): value for name, value in reversed(fields)}
        head = Head((method, b"/x", b"1.1"), list(fields), names, b"a", 3, keep=True, expects=False)
        exchange: Any = Exchange(head)
        exchange.context = Demand(head, self.front, b"/x", b"me", 60.0)
        self.intake.handle(exchange)
        return {"status": exchange.answer[0], **exchange.answer[1]}

    def accepted(self) -> tuple[Partition, Request, int]:
        """Where the last one lies, what its next reader makes of it, and the topic in its id."""
        partition, entry = self.log.stored[-1]
        record = Record(partition, OFFSET, *entry, 0.0)
        topic = next(n for n in range(4) if self.front.topic(n) == partition.topic)
        return partition, request_of(record, self.front.number, topic), topic


DELAY = (b"Bufferproxy-Delay", b"30s")


def test_a_delayed_request_is_accepted_into_its_tier() -> None:
    world = World()
    told = world.ask(DELAY)
    partition, request, topic = world.accepted()
    assert (partition, topic) == (Partition(NAMES.delayed, 3), DELAYED)
    assert (request.due_at, request.hop_at) == (world.now + 30_000, world.now + 16_000)
    assert request.expires_at == world.now + 30_000 + 3_600_000
    assert (told["status"], told["state"], told["eta_seconds"]) == (202, "queued", 30.0)
    assert told["id"] == request.id
    identity = parse_id(request.id)
    assert identity is not None
    assert (identity.topic, identity.partition, identity.offset) == (DELAYED, 3, OFFSET)
    assert told["next_attempt_at"] > told["accepted_at"]


def test_a_moment_that_is_too_far_off_is_refused_and_not_stored() -> None:
    world, far = World(), (b"Bufferproxy-Not-Before", b"9999-12-31T23:59:59Z")
    for more in ([], [(b"Prefer", b"wait=40")]):
        assert world.ask(far, *more)["slug"] == "bad-request"
    assert world.ask(far, method=b"GET")["slug"] == "bad-request"
    assert not world.log.stored


def test_what_expires_before_it_is_due_waits_no_longer_than_that_in_its_tier() -> None:
    world = World()
    world.ask(DELAY, (b"Bufferproxy-Expires", b"5s"))
    partition, request, _ = world.accepted()
    assert partition.number == 2
    assert (request.hop_at, request.expires_at) == (world.now + 4_000, world.now + 5_000)


@pytest.mark.parametrize(
    ("order", "key", "topic"),
    [
        ("none", b"k", DELAYED),
        ("key", b"k", REQUESTS),
        ("key", None, DELAYED),
        ("strict", b"k", REQUESTS),
        ("strict", None, REQUESTS),
    ],
)
def test_who_others_wait_behind_is_accepted_in_its_place(order: str, key: bytes | None, topic: int) -> None:
    world = World(order=order)
    told = world.ask(DELAY, *([] if key is None else [(b"Bufferproxy-Key", key)]))
    _, request, found = world.accepted()
    assert (found, request.due_at) == (topic, world.now + 30_000)
    assert told["eta_seconds"] == 30.0


@pytest.mark.parametrize(
    ("said", "default", "told", "topic"),
    [
        (b"high", Priority.NORMAL, True, HIGH),
        (b"low", Priority.NORMAL, True, LOW),
        (None, Priority.NORMAL, True, REQUESTS),
        (None, Priority.LOW, True, LOW),
        (b"normal", Priority.LOW, True, REQUESTS),
        (b"high", Priority.NORMAL, False, REQUESTS),
        (b"high", None, False, REQUESTS),
    ],
)
def test_its_priority_is_what_its_caller_may_say_or_the_services(
    said: bytes | None, default: Priority | None, told: bool, topic: int
) -> None:
    world = World(priority=default, priority_told=told)
    answer = world.ask(*([] if said is None else [(b"Bufferproxy-Priority", said)]))
    _, request, found = world.accepted()
    assert (found, request.priority) == (topic, Priority(topic))
    assert answer["id"] == request.id


def test_what_is_delayed_keeps_its_priority() -> None:
    world = World()
    world.ask(DELAY, (b"Bufferproxy-Priority", b"low"))
    _, request, topic = world.accepted()
    assert (topic, request.priority) == (DELAYED, Priority.LOW)


def test_who_would_wait_longer_than_it_wants_is_not_held() -> None:
    world = World()
    assert world.ask(DELAY, (b"Prefer", b"wait=20"))["status"] == 202
    assert world.ask((b"Bufferproxy-Delay", b"31s"), method=b"GET")["slug"] == "wait-too-long"
    assert len(world.intake.held) == 0
    world.ask(DELAY, (b"Prefer", b"wait=40"))
    assert len(world.intake.held) == 1


def test_nobody_waits_behind_what_waits_for_a_time_of_its_own() -> None:
    world = World(limits=Limits(2000, 100_000, 900.0))
    backlog = world.front.backlog
    backlog.requests, backlog.delayed = 1002, 1000
    assert (told := world.ask())["eta_seconds"] == 2.0
    assert told["position"] == 3
    backlog.delayed = 0
    assert world.ask()["slug"] == "wait-too-long"


def test_what_is_delayed_is_refused_while_only_the_reserve_is_left() -> None:
    world = World()
    world.log.short = True
    assert world.ask(DELAY)["slug"] == "storage-full"
    assert world.ask()["status"] == 202
    world.log.short = False
    assert world.ask(DELAY)["status"] == 202


def test_what_is_malformed_is_refused_and_not_stored() -> None:
    world = World(priority=None)
    assert world.ask((b"Bufferproxy-Priority", b"urgent"))["slug"] == "bad-request"
    assert world.ask((b"Bufferproxy-Delay", b"soon"))["slug"] == "bad-request"
    assert not world.log.stored
