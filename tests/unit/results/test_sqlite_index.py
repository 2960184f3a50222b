from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bufferproxy.database import Work, open_database
from bufferproxy.errors import StorageFull
from bufferproxy.records import Partition, Position, State
from bufferproxy.results import sqlite_index, tables
from bufferproxy.results.index import Ends, Found, Row
from bufferproxy.results.sqlite_index import SqliteIndex
from bufferproxy.results.tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

RESULTS, STATES = Partition("p.a.results", 0), Partition("p.a.states", 3)
OTHER = Partition("p.b.results", 1)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[SqliteIndex]:
    index = await SqliteIndex.open(await open_database(folder / "index.db", SCHEMA))
    try:
        yield index
    finally:
        await index.close()


def row(id_: str, state: State, at: int = 5, *, error: str | None = None) -> Row:
    return Row(id_, state, at, 1, 2, None, error, None, 99)


def ends(partition: Partition, first: int, *ids: str, newest: int = 5) -> Ends:
    keys = [id_.encode() for id_ in ids]
    return Ends(partition, keys, range(first, first + len(ids)), newest)


def at(partition: Partition, *offsets: int) -> Found:
    return Found(None, [Position(partition, offset) for offset in offsets])


async def segments(index: SqliteIndex) -> list[int]:
    """How many ends each segment of the file holds."""

    def select(connection: tables.Connection) -> list[int]:
        found = connection.execute("SELECT length(tokens) FROM segments ORDER BY number").fetchall()
        return [length // 16 for (length,) in found]

    return await index._database.transact(select)


async def test_what_was_put_is_found_also_after_a_restart(tmp_path: Path) -> None:
    retrying = row("b", State.RETRYING, error="503")._replace(due_at=44, expires_at=None)
    async with opened(tmp_path) as index:
        assert await index.offsets() == {}
        index.put([retrying], [ends(RESULTS, 7, "a"), ends(OTHER, 7, "c")], {RESULTS: 8, STATES: 2, OTHER: 8})
        assert await index.find("a") == at(RESULTS, 7)
        assert await index.find("b") == Found(retrying, [])
    async with opened(tmp_path) as index:
        assert await index.find("a") == at(RESULTS, 7)
        assert await index.find("b") == Found(retrying, [])
        assert await index.find("c") == at(OTHER, 7)
        assert await index.find("d") == Found(None, [])
        assert await index.offsets() == {RESULTS: 8, STATES: 2, OTHER: 8}


async def test_a_partition_that_comes_later_does_not_move_those_before(tmp_path: Path) -> None:
    async with opened(tmp_path) as index:
        index.put([], [ends(RESULTS, 7, "a")], {RESULTS: 8})
    async with opened(tmp_path) as index:
        index.put([], [ends(OTHER, 3, "b"), ends(RESULTS, 8, "c")], {OTHER: 4, RESULTS: 9})
    async with opened(tmp_path) as index:
        assert await index.find("a") == at(RESULTS, 7)
        assert await index.find("b") == at(OTHER, 3)
        assert await index.find("c") == at(RESULTS, 8)


@pytest.mark.parametrize("written", [False, True])
async def test_a_step_never_replaces_an_end(tmp_path: Path, written: bool) -> None:
    end = row("a", State.DEAD, error="8 attempts")
    async with opened(tmp_path) as index:
        for told in (row("a", State.RETRYING, error="503"), end, row("a", State.RETRYING, error="503")):
            index.put([told], [], {STATES: 1})
            if written:
                await index.forget(0)
        assert await index.find("a") == Found(end, [])


@pytest.mark.parametrize("written", [False, True])
async def test_a_second_end_replaces_the_first(tmp_path: Path, written: bool) -> None:
    async with opened(tmp_path) as index:
        for told in (row("a", State.DEAD, error="8 attempts"), row("a", State.DELIVERED, at=9)):
            index.put([told], [], {STATES: 1})
            if written:
                await index.forget(0)
        assert await index.find("a") == Found(row("a", State.DELIVERED, at=9), [])


async def test_two_ends_of_an_id_are_named_the_newer_one_first(tmp_path: Path) -> None:
    async with opened(tmp_path) as index:
        index.put([], [ends(RESULTS, 0, "a", "b", "a")], {RESULTS: 3})
        assert await index.find("a") == at(RESULTS, 2, 0)
        await index.forget(0)
        index.put([], [ends(RESULTS, 3, "c", "a")], {RESULTS: 5})
        assert await index.find("a") == at(RESULTS, 4, 2, 0)


async def test_old_ends_are_forgotten_and_what_is_open_never(tmp_path: Path) -> None:
    async with opened(tmp_path) as index:
        old = [row(f"end {number}", State.DEAD, at=10) for number in range(5000)]
        index.put(
            [*old, row("open", State.RETRYING, at=10), row("young", State.DEAD, at=20)], [], {STATES: 1}
        )
        await index.forget(20)
        assert await index.find("end 0") == Found(None, [])
        assert await index.find("end 4999") == Found(None, [])
        assert (await index.find("open")).row is not None
        assert (await index.find("young")).row is not None


async def test_segments_are_forgotten_when_their_newest_end_is_old(tmp_path: Path) -> None:
    async with opened(tmp_path) as index:
        for number in range(50):
            ids = [f"{number}.{part}" for part in range(tables.FULL)]
            index.put([], [ends(RESULTS, number, *ids, newest=number)], {RESULTS: number})
            await index.forget(0)
        await index.forget(49)
        assert await segments(index) == [tables.FULL]
        assert (await index.find("49.0")).ends
        assert not (await index.find("48.0")).ends


async def test_a_few_ends_at_a_time_do_not_make_a_segment_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "FULL", 10)
    async with opened(tmp_path) as index:
        for number in range(0, 24, 2):
            index.put([], [ends(RESULTS, number, str(number), str(number + 1))], {RESULTS: number + 2})
            await index.forget(0)
        assert await segments(index) == [10, 10, 4]
        for number in range(24):
            assert await index.find(str(number)) == at(RESULTS, number)


async def test_what_the_disk_had_no_room_for_goes_before_what_came_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a crash between the two would leave a gap that the offsets do not tell of."""
    monkeypatch.setattr(sqlite_index, "WRITE_AFTER", 0.0)
    monkeypatch.setattr(sqlite_index, "WRITE_AGAIN", 0.0)
    async with opened(tmp_path) as index:
        works: asyncio.Queue[Work] = asyncio.Queue()
        with monkeypatch.context() as patch:
            patch.setattr(index._database, "write", works.put_nowait)
            index.put([row("r", State.RETRYING)], [ends(RESULTS, 0, "a")], {RESULTS: 1})
            first = await works.get()
            first.tell(StorageFull("no room"))
            index.put([], [ends(RESULTS, 1, "b")], {RESULTS: 2})
            assert await works.get() is first
            assert works.empty()
            assert await index.find("a") == at(RESULTS, 0)
            assert await index.find("b") == at(RESULTS, 1)
            assert (await index.find("r")).row is not None
        index._database.write(first)
    async with opened(tmp_path) as index:
        assert await index.offsets() == {RESULTS: 2}
        assert await index.find("b") == at(RESULTS, 1)
