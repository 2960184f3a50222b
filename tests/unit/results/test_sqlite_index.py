from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bufferproxy.database import open_database
from bufferproxy.records import Partition, Position, State
from bufferproxy.results.index import Row
from bufferproxy.results.sqlite_index import SCHEMA, SqliteIndex

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

RESULTS, STATES = Partition("p.a.results", 0), Partition("p.a.states", 3)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[SqliteIndex]:
    index = SqliteIndex(await open_database(folder / "index.db", SCHEMA))
    try:
        yield index
    finally:
        await index.close()


def row(
    id_: str, state: State, at: int = 5, *, reply: Position | None = None, error: str | None = None
) -> Row:
    return Row(id_, state, at, 1, 2, reply, error, None, 99)


async def test_what_was_put_is_found_also_after_a_restart(tmp_path: Path) -> None:
    rows = [
        row("a", State.DELIVERED, reply=Position(RESULTS, 7)),
        row("b", State.RETRYING, error="503")._replace(due_at=44, expires_at=None),
    ]
    async with opened(tmp_path) as index:
        assert await index.offsets() == {}
        index.put(rows, {RESULTS: 8, STATES: 2})
        assert [await index.find("a"), await index.find("b")] == rows
    async with opened(tmp_path) as index:
        assert [await index.find("a"), await index.find("b"), await index.find("c")] == [*rows, None]
        assert await index.offsets() == {RESULTS: 8, STATES: 2}


async def test_a_step_never_replaces_an_end(tmp_path: Path) -> None:
    async with opened(tmp_path) as index:
        index.put([row("a", State.RETRYING, error="503")], {STATES: 1})
        index.put([row("a", State.DELIVERED, reply=Position(RESULTS, 0))], {RESULTS: 1})
        index.put([row("a", State.RETRYING, error="503")], {STATES: 2})
        assert await index.find("a") == row("a", State.DELIVERED, reply=Position(RESULTS, 0))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_an_end_told_twice_keeps_its_reply_and_its_error(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    answered = row("a", State.DEAD, reply=Position(RESULTS, 4), error="attempts: 8 attempts")
    tellings = [([answered], {RESULTS: 5}), ([row("a", State.DEAD)], {STATES: 1})]
    async with opened(tmp_path) as index:
        index.put([row("a", State.RETRYING, error="503")], {STATES: 0})
        for number in order:
            index.put(*tellings[number])
        assert await index.find("a") == answered


async def test_the_error_of_a_step_is_not_that_of_the_end(tmp_path: Path) -> None:
    async with opened(tmp_path) as index:
        index.put([row("a", State.RETRYING, error="503")], {STATES: 1})
        index.put([row("a", State.DELIVERED)], {RESULTS: 1})
        found = await index.find("a")
        assert found is not None
        assert found.error is None


async def test_old_ends_are_forgotten_and_what_is_open_never(tmp_path: Path) -> None:
    async with opened(tmp_path) as index:
        old = [row(f"end {number}", State.DELIVERED, at=10) for number in range(5000)]
        index.put([*old, row("open", State.RETRYING, at=10), row("young", State.DEAD, at=20)], {STATES: 1})
        await index.forget(20)
        assert await index.find("end 0") is None
        assert await index.find("end 4999") is None
        assert await index.find("open") is not None
        assert await index.find("young") is not None
