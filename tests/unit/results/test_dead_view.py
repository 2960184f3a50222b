from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bufferproxy.database import open_database
from bufferproxy.envelope import copy_of, letter_key, mark_entry
from bufferproxy.errors import LogUnavailable
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.log.topics import ServiceTopics, topics_of
from bufferproxy.records import Entry, Mark, Partition, Position, Request, State
from bufferproxy.results.dead_index import SCHEMA, DeadIndex
from bufferproxy.results.dead_view import RECOUNT, SWEEP, DeadView
from bufferproxy.results.selection import ALL
from bufferproxy.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NAMES = ServiceTopics.of("a")
DEAD = Partition(NAMES.dead, 0)


class World:
    """A log in memory, an index in a file, and a view that runs between them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.memory = Memory()
        self.clock = FakeClock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[DeadView]:
        self.log = MemoryLog(self.memory, self.clock)
        topics = topics_of(NAMES, partitions=2, body=99, reply=9, keep_results=60, keep_dead=60)
        await self.log.ensure(topics, create=True)
        index = DeadIndex(await open_database(self.folder / "dead.db", SCHEMA))
        view = DeadView(self.log, index, {"a": (NAMES, 60.0)}, self.clock)
        running = asyncio.create_task(view.run(await view.start()))
        try:
            yield view
        finally:
            running.cancel()
            await asyncio.wait([running])
            await index.close()

    async def bury(self, id_: str, generation: int = 0) -> None:
        head, now = b"GET /a HTTP/1.1\r\n", b"%d" % int(self.clock.wall() * 1000)
        request = Request(id_, Position(DEAD, 0), None, head, b"", 1, 1, generation=generation)
        entry = copy_of(request, reason=b"attempts", died_at=now)
        await self.log.append(DEAD, entry._replace(key=letter_key(id_, generation)))

    async def mark(self, id_: str, generation: int, state: State | None = None) -> None:
        now_ms = int(self.clock.wall() * 1000)
        mark = Mark(id_, generation, purged=False, at=now_ms, results=1, state=state)
        await self.log.append(DEAD, mark_entry(mark))

    async def until_kept(self, view: DeadView, count: int) -> None:
        """The index answers from a thread of its own: each question here comes behind the view's."""
        async with asyncio.timeout(30):
            while view.kept("a") != count:
                await self.clock.advance(RECOUNT)
                await view.newest()


async def ids(view: DeadView) -> list[str]:
    await view.catch_up("a")
    return [letter.id for _, letter in await view.page("a", ALL, 99)]


async def test_what_dies_is_listed_until_it_is_redriven_and_again_after_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running() as view:
        await world.bury("x")
        await world.bury("y")
        assert await ids(view) == ["x", "y"]
        await world.mark("x", 1)
        assert await ids(view) == ["y"]
    async with world.running() as view:
        assert await ids(view) == ["y"]
        await world.bury("x", 1)
        assert await ids(view) == ["y", "x"]


async def test_what_was_settled_is_known_by_all_that_the_log_holds(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running() as view:
        await world.bury("x")
        await world.mark("x", 1)
        assert await view.settled("a", [("x", 1)]) == set()
        await world.mark("x", 1, State.DELIVERED)
        assert await view.settled("a", [("x", 1), ("y", 1)]) == {("x", 1)}


async def test_a_log_that_was_made_anew_is_read_from_its_start(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running() as view:
        for number in range(5):
            await world.bury(f"{number}")
        assert len(await ids(view)) == 5
    world.memory = Memory()
    async with world.running() as view:
        await world.bury("new")
        assert "new" in await ids(view)


async def test_what_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running() as view:
        await world.log.append(DEAD, Entry(b"x", b"", (("bufferproxy-version", b"9"),)))
        await world.log.append(DEAD, Entry(b"y", b"", ()))
        await world.bury("z")
        assert await ids(view) == ["z"]


async def test_letters_are_counted_and_forgotten_with_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running() as view:
        await world.bury("x")
        await world.bury("y")
        await ids(view)
        await world.until_kept(view, 2)
        await world.clock.advance(60.0 + SWEEP)
        await world.until_kept(view, 0)
        assert await ids(view) == []


async def test_what_is_older_than_it_is_kept_is_not_listed_until_a_sweep_comes(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.running() as view:
        await world.clock.advance(SWEEP / 2)
        await world.bury("x")
        await world.clock.advance(1.0)
        await world.bury("y")
        assert await ids(view) == ["x", "y"]
        await world.clock.advance(SWEEP / 2)  # the last sweep before both are too old
        assert await view.count("a", ALL) == 2
        await world.clock.advance(SWEEP / 2 - 0.5)
        assert await view.count("a", ALL) == 1
        assert await ids(view) == ["y"]


async def test_who_asks_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bufferproxy.results.reading.PATIENCE", 0.01)
    world = World(tmp_path)
    topics = topics_of(NAMES, partitions=2, body=99, reply=9, keep_results=60, keep_dead=60)
    world.log = MemoryLog(world.memory, world.clock)
    await world.log.ensure(topics, create=True)
    index = DeadIndex(await open_database(tmp_path / "dead.db", SCHEMA))
    view = DeadView(world.log, index, {"a": (NAMES, 60.0)}, world.clock)
    await view.start()
    await world.bury("x")
    with pytest.raises(LogUnavailable):
        await view.catch_up("a")
    await index.close()
