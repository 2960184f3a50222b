from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING, Any, cast

import pytest

from bufferproxy import envelope, ids
from bufferproxy.accept import answers
from bufferproxy.accept.admission import Limits, Outlook
from bufferproxy.accept.answers import Standing
from bufferproxy.accept.backlog import Backlog
from bufferproxy.accept.front import Front, Terms
from bufferproxy.accept.status import Source, StatusBook
from bufferproxy.errors import LogUnavailable
from bufferproxy.http1.problems import Problem
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.log.survey import EVERY, Survey, Surveyor
from bufferproxy.log.topics import ServiceTopics, topics_of
from bufferproxy.records import Change, Entry, Partition, Position, Record, State
from bufferproxy.results.dead_index import Reopened
from bufferproxy.results.index import Row
from bufferproxy.results.view import Finding
from bufferproxy.results.watchers import Watcher, Watchers
from bufferproxy.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from bufferproxy.log.contract import Lag

NAMES = ServiceTopics.of("a")
REQUESTS = Partition(NAMES.requests, 0)
TERMS = Terms(99, 0.0, None, 60.0, 10, Limits(10, 1000, 60.0), "none", None)


class Noticed(Watchers):
    """`begun` when somebody watches."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()

    def watch(self, nonce_text: bytes, watcher: Watcher) -> None:
        super().watch(nonce_text, watcher)
        self.begun.set()


class View:
    """Has read everything, and nothing was told of any id."""

    behind = 0

    def __init__(self) -> None:
        self.watchers = Noticed()

    async def find(self, id_: str) -> Finding | None:
        return None

    def has_read(self, written: Mapping[Partition, Lag]) -> bool:
        return True

    async def find_settled(self, id_: str, written: Mapping[Partition, Lag]) -> Finding | None:
        return await self.find(id_)


class Exchange:
    method = b"GET"
    gone = False
    on_hangup: Any = None

    def __init__(self, id_: str, *headers: tuple[bytes, bytes]) -> None:
        self.headers = headers
        self.target = f"/_bufferproxy/requests/{id_}".encode()
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def refuse(self, problem: Problem) -> None:
        self.answer.set_result(problem)

    def reply(self, status: int, head: bytes, body: bytes) -> None:
        self.answer.set_result((status, json.loads(body)["state"]))


class Settled(View):
    """Of every id: the end that is set here."""

    def __init__(self, row: Row) -> None:
        super().__init__()
        self.row: Row = row
        self.next: Row = row

    async def find(self, id_: str) -> Finding:
        return Finding(self.row)

    async def find_settled(self, id_: str, written: Mapping[Partition, Lag]) -> Finding:
        return Finding(self.next)


class Dead:
    def __init__(self) -> None:
        self.again: Reopened | None = None
        self.asked = 0

    async def reopened(self, service: str, id_: str) -> Reopened | None:
        self.asked += 1
        return self.again


def dead_row(now_ms: int) -> Row:
    return Row("x", State.DEAD, now_ms, 1, 8, None, "attempts: 8 attempts", None, 5)


async def test_what_a_redrive_opened_again_is_queued_until_its_new_end_is_read() -> None:
    clock = FakeClock()
    now_ms = int(clock.wall() * 1000)
    view, flying = Settled(dead_row(now_ms)), set[str]()
    world = World(view, clock=clock, flying=flying)
    dead, id_ = world.dead, await world.accept(REQUESTS, ids.REQUESTS)

    async def state() -> tuple[str, int]:
        asking = asyncio.ensure_future(world.book.standing(id_))
        await asyncio.sleep(0)
        await world.surveyor.look()  # as it does twice a second
        standing = await asking
        assert isinstance(standing, Standing)
        return standing.state.value, standing.attempts

    assert await state() == ("dead", 8)
    dead.again = Reopened(1, True, None, now_ms + 5, 1, 0, None, 99)
    assert await state() == ("queued", 0)
    flying.add(id_)
    assert await state() == ("delivering", 1)
    flying.clear()
    dead.again = Reopened(1, True, State.RETRYING, now_ms + 6, 1, 1, now_ms + 50, 99)
    assert await state() == ("retrying", 1)
    dead.again = Reopened(1, False, State.DELIVERED, now_ms + 7, 1, 1, None, 99)
    view.next = dead_row(now_ms + 7)._replace(state=State.DELIVERED, attempts=1, error=None)
    assert await state() == ("delivered", 1), "it is in the log, and the view has not read it yet"
    view.row, dead.asked = view.next, 0
    assert await state() == ("delivered", 1)
    assert dead.asked == 0, "what was delivered is never opened again"


class Told(View):
    """Something was told of every id."""

    def __init__(self, row: Row) -> None:
        super().__init__()
        self.row = row

    async def find(self, id_: str) -> Finding:
        return Finding(self.row._replace(id=id_))


class CountedLog(MemoryLog):
    def __init__(self, clock: FakeClock) -> None:
        super().__init__(Memory(), clock)
        self.reads = 0
        self.looks = 0

    async def read(self, position: Position, limit: int) -> Sequence[Record]:
        self.reads += 1
        return await super().read(position, limit)

    async def lag(self, group: str, topics: Sequence[str]) -> Mapping[Partition, Lag]:
        self.looks += 1
        return await super().lag(group, topics)


class World:
    def __init__(
        self, view: View | None = None, *, clock: FakeClock | None = None, flying: Collection[str] = ()
    ) -> None:
        self.clock = clock or FakeClock()
        self.now = int(self.clock.wall() * 1000)
        self.log = CountedLog(self.clock)
        self.front = Front("a", NAMES, (REQUESTS,), TERMS, Backlog(1.0, exact=True))
        self.surveyor = Surveyor(self.log, self.clock)
        self.survey = Survey(NAMES, self.clock, lambda: None, lambda _: None, concurrency=1)
        self.surveyor.surveys.append(self.survey)
        self.dead = Dead()
        self.book = StatusBook(
            {self.front.number: Source(self.front, 60.0, self.survey)},
            cast("Any", view or View()),
            cast("Any", self.dead),
            self.log,
            self.clock,
            flying.__contains__,
        )

    async def accept(self, place: Partition, topic: int, **fields: Any) -> str:
        await self.ensure()
        nonce = self.clock.nonce()
        entry = envelope.accepted(
            key=None, head=b"", body=b"", accepted_at=self.now, nonce=nonce, results=0, **fields
        )
        _, offset = await self.log.append(place, entry)
        return self.id(offset, nonce, topic, place.number)

    async def ensure(self) -> None:
        """The topics, and a first look at them."""
        topics = topics_of(NAMES, partitions=1, body=99, reply=99, keep_results=60, keep_dead=60)
        await self.log.ensure(topics, create=True)
        if self.survey.lag(REQUESTS) is None:
            await self.surveyor.look()

    def id(self, offset: int, nonce: bytes, topic: int = ids.REQUESTS, partition: int = 0) -> str:
        return ids.id_of(ids.Identity(self.front.number, topic, partition, offset, 0, nonce))

    async def settle(self, offset: int, *, trim: bool = False) -> None:
        await self.log.commit(NAMES.group, {REQUESTS: (offset, "")})
        if trim:
            self.log.trim()

    async def slug(self, id_: str) -> str:
        standing = await self.book.standing(id_)
        assert isinstance(standing, Problem)
        return standing.slug


async def test_an_id_whose_record_is_of_a_newer_version_gets_an_answer_too() -> None:
    world = World()
    await world.ensure()
    nonce = world.clock.nonce()
    headers = (("bufferproxy-version", b"9"), ("bufferproxy-nonce", nonce))
    position = await world.log.append(REQUESTS, Entry(None, b"", headers))
    exchange = Exchange(world.id(position.offset, nonce))
    world.book.handle(cast("Any", exchange))
    async with asyncio.timeout(5):
        assert (await exchange.answer).slug == "log-unavailable"


async def test_what_lies_in_the_tier_where_it_was_accepted_is_queued_until_its_moment() -> None:
    world = World()
    due_at = world.now + 30_000
    id_ = await world.accept(
        Partition(NAMES.delayed, 3), ids.DELAYED, due_at=due_at, hop_at=world.now + 16_000
    )
    standing = await world.book.standing(id_)
    assert isinstance(standing, Standing)
    assert (standing.state, standing.next_attempt_at, standing.eta) == (State.QUEUED, due_at, 30.0)
    await world.clock.advance(20.0)
    standing = await world.book.standing(id_)
    assert isinstance(standing, Standing)
    assert standing.eta == 10.0


async def test_an_id_of_a_topic_that_the_service_does_not_have_is_unknown() -> None:
    world = World()
    id_ = await world.accept(REQUESTS, ids.LOW)
    standing = await world.book.standing(id_)
    assert isinstance(standing, Problem)
    assert standing.slug == "unknown-request"


@pytest.mark.parametrize(("flying", "state"), [(False, State.QUEUED), (True, State.DELIVERING)])
async def test_what_has_hopped_is_queued_as_it_was_told_until_it_flies(flying: bool, state: State) -> None:
    now = int(FakeClock().wall() * 1000)
    row = Row("", State.QUEUED, now, now, 0, None, None, now + 9_000, None)
    flying_ids: set[str] = set()
    world = World(Told(row), flying=flying_ids)
    id_ = await world.accept(REQUESTS, ids.DELAYED)
    if flying:
        flying_ids.add(id_)
    standing = await world.book.standing(id_)
    assert isinstance(standing, Standing)
    assert (standing.state, standing.attempts) == (state, int(flying))
    expected = (None, None) if flying else (now + 9_000, 9.0)
    assert (standing.next_attempt_at, standing.eta) == expected


@pytest.mark.parametrize("rest", [40.0, math.inf])
async def test_when_it_is_sent_counts_what_is_known_of_a_rest(rest: float) -> None:
    world = World()
    world.front.backlog.outlook = Outlook(rest)
    place, due_at = Partition(NAMES.delayed, 3), world.now + 30_000
    for id_ in (
        await world.accept(REQUESTS, ids.REQUESTS),
        await world.accept(place, ids.DELAYED, due_at=due_at, hop_at=world.now + 16_000),
    ):
        standing = await world.book.standing(id_)
        assert isinstance(standing, Standing)
        assert standing.eta == rest
        told = json.loads(answers.status(standing, "/p"))
        assert told["eta_seconds"] == (rest if rest < math.inf else None)


class Poll:
    """A long poll of something that is queued, once it waits."""

    @classmethod
    async def begin(cls) -> Poll:
        self = cls()
        self.view = View()
        self.world = World(self.view)
        self.id = await self.world.accept(REQUESTS, ids.REQUESTS)
        self.before = asyncio.all_tasks()
        self.exchange = Exchange(self.id, (b"Prefer", b"wait=60"))
        self.world.book.handle(cast("Any", self.exchange))
        await self.view.watchers.begun.wait()
        return self

    async def over(self) -> None:
        """Nothing is left of it."""
        for task in asyncio.all_tasks() - self.before:
            await asyncio.wait((task,), timeout=5)
        assert asyncio.all_tasks() == self.before
        assert (len(self.view.watchers), self.exchange.on_hangup) == (0, None)


async def test_a_long_poll_that_hung_up_leaves_nothing_behind() -> None:
    poll = await Poll.begin()
    poll.exchange.gone = True
    poll.exchange.on_hangup()
    await poll.over()
    assert not poll.exchange.answer.done()


async def test_a_caller_that_is_gone_before_its_long_poll_begins_is_not_waited_for() -> None:
    world = World(view := View())
    exchange = Exchange(await world.accept(REQUESTS, ids.REQUESTS), (b"Prefer", b"wait=60"))
    exchange.gone = True
    world.book.handle(cast("Any", exchange))
    async with asyncio.timeout(5):
        await exchange.answer  # which the wire throws away
    assert (len(view.watchers), exchange.on_hangup) == (0, None)


async def test_a_long_poll_is_answered_with_the_state_of_the_moment_when_the_process_stops() -> None:
    poll = await Poll.begin()
    poll.world.book.release_all()
    async with asyncio.timeout(5):
        assert await poll.exchange.answer == (200, "queued")
        await poll.over()
        later = Exchange(poll.id, (b"Prefer", b"wait=60"))
        poll.world.book.handle(cast("Any", later))
        assert await later.answer == (200, "queued")


async def test_a_long_poll_is_told_the_end_of_its_id_and_of_no_other() -> None:
    poll = await Poll.begin()
    identity = ids.parse_id(poll.id)
    assert identity is not None
    forged = ids.id_of(identity._replace(offset=identity.offset + 1))
    poll.view.watchers.tell(Change(forged, State.RETRYING, 0, 0, 1, 0))
    poll.view.watchers.tell(Change(poll.id, State.DELIVERED, 0, 0, 1, 0))
    async with asyncio.timeout(5):
        await poll.exchange.answer
        await poll.over()


# --- what a status request costs the log ------------------------------------------------------------------


async def test_an_id_that_was_never_given_out_is_unknown_above_the_commit_and_gone_below_it() -> None:
    world = World()
    for _ in range(4):
        await world.accept(REQUESTS, ids.REQUESTS)
    await world.settle(2)
    await world.surveyor.look()
    asking = asyncio.ensure_future(world.slug(world.id(1, world.clock.nonce())))
    await asyncio.sleep(0)
    await world.surveyor.look()
    assert await asking == "result-gone"
    lags, reads = world.log.looks, world.log.reads
    assert await world.slug(world.id(0, world.clock.nonce())) == "result-gone"
    assert world.log.reads == reads, "what is settled, and whose end is read, is in no other place"
    assert await world.slug(world.id(3, world.clock.nonce())) == "unknown-request"
    assert await world.slug(world.id(99, world.clock.nonce())) == "unknown-request"
    assert await world.slug(world.id(0, world.clock.nonce(), partition=7)) == "unknown-request"
    assert (world.log.looks, world.log.reads) == (lags, reads + 2)


async def test_what_is_queued_costs_one_read_and_its_place_follows_from_the_last_look() -> None:
    world = World()
    queued = [await world.accept(REQUESTS, ids.REQUESTS) for _ in range(4)]
    await world.settle(1)
    await world.surveyor.look()
    queued.append(await world.accept(REQUESTS, ids.REQUESTS))
    lags, reads = world.log.looks, world.log.reads
    for place, id_ in enumerate(queued[1:], 1):
        standing = await world.book.standing(id_)
        assert isinstance(standing, Standing)
        assert (standing.state, standing.position) == (State.QUEUED, place)
    assert (world.log.looks, world.log.reads) == (lags, reads + 4)


async def test_what_is_settled_since_the_ends_were_counted_waits_for_the_next_look() -> None:
    """Its end was appended before the commit: whether the view has read so far only a later look can tell."""
    row = dead_row(int(FakeClock().wall() * 1000))._replace(state=State.DELIVERED, error=None)

    class Late(View):
        async def find_settled(self, id_: str, written: Mapping[Partition, Lag]) -> Finding | None:
            return Finding(row) if written[Partition(NAMES.results, 0)].end == 1 else None

    world = World(Late())
    id_ = await world.accept(REQUESTS, ids.REQUESTS)
    await world.log.append(Partition(NAMES.results, 0), Entry(id_.encode(), b"", ()))
    await world.settle(1)
    await world.surveyor.look()
    surveying = asyncio.create_task(world.surveyor.run())
    asking = asyncio.ensure_future(world.book.standing(id_))
    while not asking.done():
        await world.clock.until_set()
        await world.clock.advance(EVERY)
    standing = asking.result()
    assert isinstance(standing, Standing)
    assert standing.state is State.DELIVERED
    surveying.cancel()


async def test_what_was_accepted_ended_and_trimmed_since_the_last_look_is_found_when_its_end_is_read() -> (
    None
):
    class Reading(View):
        """Has read the end when it is asked again."""

        asked = 0

        async def find(self, id_: str) -> Finding | None:
            self.asked += 1
            if self.asked == 1:
                return None
            return Finding(dead_row(int(world.clock.wall() * 1000))._replace(state=State.DELIVERED))

    world = World(Reading())
    id_ = await world.accept(REQUESTS, ids.REQUESTS)
    await world.settle(1, trim=True)
    standing = await world.book.standing(id_)
    assert isinstance(standing, Standing)
    assert standing.state is State.DELIVERED


async def test_a_log_that_is_away_when_the_next_look_is_due_is_said_to_be_away() -> None:
    world = World()
    id_ = await world.accept(REQUESTS, ids.REQUESTS)
    await world.settle(1, trim=True)
    await world.surveyor.look()
    asking = Exchange(id_)
    world.book.handle(cast("Any", asking))
    await asyncio.sleep(0)
    await world.log.close()
    with pytest.raises(LogUnavailable):
        await world.surveyor.look()
    async with asyncio.timeout(5):
        assert (await asking.answer).slug == "log-unavailable"
