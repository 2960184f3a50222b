"""The view of results against a dict: any order of ends, steps, restarts, crashes and lost files."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bufferproxy.database import open_database
from bufferproxy.envelope import entry_of
from bufferproxy.ids import REQUESTS, Identity, id_of
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.log.topics import ServiceTopics, topics_of
from bufferproxy.records import Change, Partition, Position, State
from bufferproxy.results import tables
from bufferproxy.results.sqlite_index import SqliteIndex
from bufferproxy.results.view import ResultsView
from bufferproxy.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

NAMES = ServiceTopics.of("a")
PARTITIONS = 2
HEAD = b"HTTP/1.1 200 OK\r\n"
STEPS = ("step", "answer", "answer and pointer", "pointer and answer", "dead")
HAPPENINGS = ("write", "restart", "crash", "lose the file")

OFFSETS = st.one_of(st.integers(0, 200), st.integers(0, (1 << 48) - 1))
IDENTITIES = st.builds(
    Identity,
    st.just(7),
    st.just(REQUESTS),
    st.integers(0, 3),
    OFFSETS,
    st.integers(0, PARTITIONS - 1),
    st.binary(min_size=12, max_size=12),
)


class Standing(NamedTuple):
    state: State
    reply: Position | None
    error: str | None
    at: int


class World:
    """`model`: id -> what was told last, where a step tells nothing of what has ended."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "index.db"
        self.memory = Memory()
        self.clock = FakeClock()
        self.model: dict[str, Standing] = {}

    @asynccontextmanager
    async def running(self, *, crash: bool) -> AsyncIterator[ResultsView]:
        self.log = MemoryLog(self.memory, self.clock)
        await self.log.ensure(
            topics_of(
                NAMES,
                partitions=PARTITIONS,
                body=9,
                reply=9,
                keep_results=60,
                keep_dead=60,
                results=PARTITIONS,
            ),
            create=True,
        )
        database = await open_database(self.path, tables.SCHEMA)
        self.index = await SqliteIndex.open(database)
        view = ResultsView(self.log, self.index, [(NAMES, 60.0)], self.clock)
        following = asyncio.create_task(view.run(await view.start()))
        try:
            yield view
        finally:
            following.cancel()
            await asyncio.wait([following])
            # What was gathered goes with a crash, and is read again.
            await (database if crash else self.index).close()

    def lose_the_file(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    async def tell(self, identity: Identity, what: str) -> None:
        await self.clock.advance(0.001)
        id_, now = id_of(identity), int(self.clock.wall() * 1000)
        results, states = (
            Partition(NAMES.results, identity.results),
            Partition(NAMES.states, 0),
        )
        known = self.model.get(id_)
        if what in ("step", "dead"):
            state = State.RETRYING if what == "step" else State.DEAD
            change = Change(id_, state, now, 1, 1, identity.results, error=what)
            await self.log.append(states, entry_of(change))
            if what == "dead" or known is None or not known.state.ended:
                self.model[id_] = Standing(state, None, what, now)
            return
        change = Change(id_, State.DELIVERED, now, 1, 1, identity.results, HEAD)
        pointer = change._replace(reply_head=None)
        if what == "pointer and answer":
            await self.log.append(states, entry_of(pointer))
        position = await self.log.append(results, entry_of(change))
        if what == "answer and pointer":
            await self.log.append(states, entry_of(pointer))
        self.model[id_] = Standing(State.DELIVERED, position, None, now)


async def check(world: World, view: ResultsView, identities: Sequence[Identity]) -> None:
    for identity in identities:
        id_ = id_of(identity)
        written = await world.log.lag(NAMES.group, (NAMES.results, NAMES.states))
        finding = await view.find_settled(id_, written)
        row = None if finding is None else finding.row
        found = None if row is None else Standing(row.state, row.reply, row.error, row.at)
        assert found == world.model.get(id_)


async def live(
    folder: Path, identities: Sequence[Identity], history: Sequence[tuple[str, int]], full: int
) -> None:
    world, left = World(folder), list(history)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "FULL", full)
        while True:
            lives = [what for what, _ in left if what in HAPPENINGS[1:]]
            end = lives[0] if lives else None
            async with world.running(crash=end == "crash") as view:
                while left:
                    what, number = left.pop(0)
                    if what == end:
                        break
                    if what == "write":
                        await check(world, view, identities[:1])
                        await world.index.forget(0)
                    else:
                        await world.tell(identities[number % len(identities)], what)
                await check(world, view, identities)
            if end is None:
                return
            if end == "lose the file":
                world.lose_the_file()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(IDENTITIES, min_size=1, max_size=8, unique=True),
    st.lists(st.tuples(st.sampled_from(STEPS * 3 + HAPPENINGS), st.integers(0, 7)), max_size=40),
    st.sampled_from((2, 5, 4000)),
)
def test_what_was_told_last_is_found(
    identities: Sequence[Identity], history: Sequence[tuple[str, int]], full: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live(Path(folder), identities, history, full))
