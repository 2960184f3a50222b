from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bufferproxy.database import open_database
from bufferproxy.envelope import change_of, entry_of
from bufferproxy.errors import LogUnavailable, StorageFull
from bufferproxy.ids import NONCE_TEXT
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.log.topics import ServiceTopics, topics_of
from bufferproxy.records import Change, Entry, Partition, Position, Record, State
from bufferproxy.results.sqlite_index import SqliteIndex
from bufferproxy.results.tables import SCHEMA
from bufferproxy.results.view import CATCH_UP, SWEEP, ResultsView
from bufferproxy.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from bufferproxy.results.index import Row

NAMES = ServiceTopics.of("a")
RESULTS, STATES = Partition(NAMES.results, 0), Partition(NAMES.states, 0)
HEAD = b"HTTP/1.1 200 OK\r\n"


def named(name: str) -> str:
    """As long as an id, with `name` where an id has what it is watched by."""
    return name.rjust(41, "-").ljust(48, "-")


A, B, C, NEW = named("a"), named("b"), named("c"), named("new")


class World:
    """A log in memory, an index in a file, and a view that runs between them."""

    def __init__(self, folder: Path, memory: Memory | None = None) -> None:
        self.folder = folder
        self.memory = memory or Memory()
        self.clock = FakeClock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ResultsView]:
        self.log = MemoryLog(self.memory, self.clock)
        await self.log.ensure(
            topics_of(NAMES, partitions=1, body=9, reply=9, keep_results=60, keep_dead=60), create=True
        )
        self.index = await SqliteIndex.open(await open_database(self.folder / "index.db", SCHEMA))
        self.view = ResultsView(self.log, self.index, [(NAMES, 60.0)], self.clock)
        tail = await self.view.start()
        task = asyncio.create_task(self.view.run(tail))
        try:
            yield self.view
        finally:
            task.cancel()
            await asyncio.wait([task])
            await self.index.close()

    async def settled(self, view: ResultsView, id_: str) -> Row:
        """Once all is read that is in the log now."""
        found = await view.find_settled(id_, await self.log.lag(NAMES.group, (NAMES.results, NAMES.states)))
        assert found is not None
        return found.row

    async def tell(
        self,
        id_: str,
        state: State,
        *,
        where: Partition = RESULTS,
        head: bytes | None = HEAD,
        error: str | None = None,
    ) -> None:
        change = Change(id_, state, int(self.clock.wall() * 1000), 1, 1, 0, head, b"", error)
        await self.log.append(where, entry_of(change))


async def found(view: ResultsView, id_: str) -> Row:
    finding = await view.find(id_)
    assert finding is not None
    return finding.row


def told(view: ResultsView, id_: str) -> asyncio.Future[Change]:
    """The next change of `id_`."""
    future = asyncio.get_running_loop().create_future()

    def watcher(change: Change) -> None:
        if not future.done():
            future.set_result(change)

    view.watchers.watch(id_.encode()[NONCE_TEXT], watcher)
    return future


async def test_an_end_wakes_who_waits_and_can_be_found(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running() as view:
        waiting = told(view, A)
        await world.tell(A, State.DELIVERED)
        assert (await waiting).reply_head == HEAD
        row = await found(view, A)
        assert (row.state, row.reply) == (State.DELIVERED, Position(RESULTS, 0))
        assert await view.find(B) is None


async def test_the_copy_in_states_never_stands_for_the_answer(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running() as view:
        await world.tell(A, State.DELIVERED)
        waiting = told(view, A)
        await world.tell(A, State.DELIVERED, where=STATES)
        await waiting
        row = await found(view, A)
        assert row.reply == Position(RESULTS, 0)


async def test_an_end_told_in_results_and_in_states_has_its_answer_in_any_order(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running() as view:
        for first, second in ((RESULTS, STATES), (STATES, RESULTS)):
            id_ = named(f"first in {first.topic}")
            await world.tell(id_, State.RETRYING, where=STATES, head=None, error="503")
            for where in (first, second):
                answered = where == RESULTS
                error = "attempts: 8 attempts" if answered else None
                head = HEAD if answered else None
                await world.tell(id_, State.DEAD, where=where, head=head, error=error)
            row = await world.settled(view, id_)
            assert (row.state, row.error) == (State.DEAD, "attempts: 8 attempts")
            assert row.reply is not None


async def test_an_end_whose_answer_is_not_read_yet_has_ended_without_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running() as view:
        await world.tell(A, State.RETRYING, where=STATES, head=None, error="503")
        await world.tell(A, State.DELIVERED, where=STATES, head=None)
        row = await world.settled(view, A)
        assert (row.state, row.reply, row.error) == (State.DELIVERED, None, None)


async def test_the_end_that_can_be_understood_is_shown_when_a_newer_one_cannot(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running() as view:
        await world.tell(A, State.DELIVERED)
        await world.log.append(RESULTS, Entry(A.encode(), b"", (("bufferproxy-version", b"9"),)))
        await world.log.append(RESULTS, Entry(None, b"", ()))
        row = await world.settled(view, A)
        assert row.reply == Position(RESULTS, 0)


async def test_an_end_that_the_log_has_let_go_of_is_not_known_any_more(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running() as view:
        await world.tell(A, State.DELIVERED)
        await world.tell(B, State.DELIVERED)
        assert await world.settled(view, A)
        world.memory.partitions[RESULTS].drop_below(1)
        assert await view.find(A) is None
        assert await view.find(B) is not None


async def test_only_what_somebody_watches_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes | None] = []

    def counted(record: Record) -> Change:
        decoded.append(record.key)
        return change_of(record)

    monkeypatch.setattr("bufferproxy.results.view.change_of", counted)
    world = World(tmp_path)
    async with world.running() as view:
        waiting = told(view, B)
        for id_ in (A, B, C):
            await world.tell(id_, State.DELIVERED)
        await waiting
        assert decoded == [B.encode()]


async def test_after_a_restart_it_reads_on_where_it_left_off(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running() as view:
        waiting = told(view, A)
        await world.tell(A, State.DELIVERED)
        await waiting
    await world.tell(B, State.REJECTED)
    again = World(tmp_path, world.memory)
    async with again.running() as view:
        assert await world.settled(view, B)
        assert (await view.find(A)) is not None
        assert view.behind == 0
    assert repr(view) == "<ResultsView behind=0 <Watchers of 0 ids>>"


async def test_what_was_there_before_the_start_counts_as_behind_until_it_is_read(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running():
        pass
    for number in range(3):
        await world.tell(named(f"{number}"), State.DELIVERED)
    again = World(tmp_path, world.memory)
    async with again.running() as view:
        assert view.behind == 3
        assert await world.settled(view, named("2"))
        assert view.behind == 0


async def test_an_index_of_a_log_that_is_gone_does_not_hide_the_new_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running() as view:
        for number in range(5):
            waiting = told(view, named(f"old {number}"))
            await world.tell(named(f"old {number}"), State.DELIVERED)
            await waiting
    anew = World(tmp_path)
    async with anew.running() as view:
        waiting = told(view, NEW)
        await anew.tell(NEW, State.DELIVERED)
        await waiting
        assert await view.find(NEW) is not None


async def test_tombstones_and_what_cannot_be_understood_are_passed_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running() as view:
        waiting = told(view, A)
        await world.log.append(STATES, Entry(b"gone", b"", ()))
        await world.log.append(RESULTS, Entry(NEW.encode(), b"", (("bufferproxy-version", b"9"),)))
        await world.tell(A, State.DELIVERED)
        await waiting
        assert await view.find(NEW) is None
        assert await view.find("gone") is None


async def test_a_log_that_is_away_is_asked_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running() as view:
        tail = await world.log.tail({RESULTS: 0})
        fetch, asked = tail.fetch, asyncio.Event()

        async def away() -> object:
            tail.fetch = fetch  # type: ignore[method-assign]
            asked.set()
            raise LogUnavailable("away")

        tail.fetch = away  # type: ignore[method-assign,assignment]
        following = asyncio.create_task(view.run(tail))
        await asked.wait()
        waiting = told(view, A)
        await world.tell(A, State.DELIVERED)
        await world.clock.advance(0.6)
        await waiting
        following.cancel()
        await asyncio.wait([following])


@pytest.mark.parametrize("full", [False, True])
async def test_ends_that_nobody_may_ask_for_any_more_are_swept(
    tmp_path: Path, full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    async with world.running() as view:
        waiting = told(view, A)
        await world.tell(A, State.DELIVERED)
        await waiting
        swept: asyncio.Queue[int] = asyncio.Queue()
        forget = world.index.forget

        async def sweep(before: int) -> None:
            try:
                if full and world.clock.now() < 1080:
                    raise StorageFull("no room")
                await forget(before)
            finally:
                swept.put_nowait(before)

        monkeypatch.setattr(world.index, "forget", sweep)
        for _ in range(8 if full else 7):
            assert await view.find(A) is not None
            await world.clock.until_set()
            await world.clock.advance(SWEEP)
            await swept.get()
        assert await view.find(A) is None


async def test_what_was_trimmed_before_it_was_read_does_not_count_as_behind_for_ever(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running():
        pass
    for number in range(3):
        await world.tell(named(f"{number}"), State.DELIVERED)
    again = World(tmp_path, world.memory)
    async with again.running() as view:
        again.memory.partitions[RESULTS].drop_below(3)
        assert view.behind == 3
        await again.clock.until_set()
        await again.clock.advance(CATCH_UP)
        assert view.behind == 0
