from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bufferproxy.database import open_database
from bufferproxy.records import Letter, Mark, Partition, Position, State
from bufferproxy.results.dead_index import SCHEMA, DeadIndex, Reopened
from bufferproxy.results.selection import ALL, Selection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DEAD = Partition("p.a.dead", 3)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[DeadIndex]:
    index = DeadIndex(await open_database(folder / "dead.db", SCHEMA))
    try:
        yield index
    finally:
        await index.close()


def letter(id_: str, offset: int = 0, *, generation: int = 0, **other: object) -> Letter:
    found = Letter(id_, generation, Position(DEAD, offset), "attempts", 500, 8, 1, 2, "/a/b", b"k")
    return found._replace(**other)


def mark(id_: str, generation: int, state: State | None = None, *, purged: bool = False) -> Mark:
    return Mark(id_, generation, purged, 5, 3, 1, state, 1, None, 99)


async def ids(index: DeadIndex, wanted: Selection = ALL) -> list[str]:
    return [letter.id for _, letter in await index.page("a", wanted, 99)]


async def test_what_was_put_is_there_also_after_a_restart(tmp_path: Path) -> None:
    one, two = letter("x", 4), letter("y", 5, status=None, key=None, accepted_at=None)
    async with opened(tmp_path) as index:
        await index.put([("a", one), ("a", two)], {DEAD: 6})
    async with opened(tmp_path) as index:
        assert await index.offsets() == {DEAD: 6}
        assert [found for _, found in await index.page("a", ALL, 99)] == [one, two]
        assert await index.count("a", ALL) == 2
        assert await index.count("b", ALL) == 0


async def test_pages_follow_one_another_up_to_what_was_there(tmp_path: Path) -> None:
    async with opened(tmp_path) as index:
        await index.put([("a", letter(f"{n:02}", n)) for n in range(40)], {})
        until = await index.newest()
        await index.put([("a", letter("late", 40)), ("a", letter("07", 41, generation=1))], {})
        found: list[str] = []
        after = 0
        while page := await index.page("a", ALL, 7, after=after, until=until):
            found += [each.id for _, each in page]
            after = page[-1][0]
        assert found == [f"{n:02}" for n in range(40) if n != 7]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Selection(ids=("y", "nobody")), ["y"]),
        (Selection(ids=()), []),
        (Selection(reason="rejected"), ["y"]),
        (Selection(status=(400, 499)), ["y"]),
        (Selection(path="/a"), ["x", "y"]),
        (Selection(path="/a/b"), ["x"]),
        (Selection(path="/a/bc"), ["y"]),
        (Selection(path=""), ["x", "y", "z"]),
        (Selection(key=b"k"), ["x", "z"]),
        (Selection(since=7), ["z"]),
        (Selection(reason="attempts", since=7), ["z"]),
    ],
)
async def test_a_selection_finds_those_of_which_all_of_it_holds(
    tmp_path: Path, wanted: Selection, found: list[str]
) -> None:
    async with opened(tmp_path) as index:
        rejected = letter("y", 1, reason="rejected", status=404, path="/a/bc", key=None)
        await index.put(
            [("a", letter("x")), ("a", rejected), ("a", letter("z", 2, path="/ab", died_at=7))], {}
        )
        assert await ids(index, wanted) == found
        assert await index.count("a", wanted) == len(found)


LIFE = [
    (letter("x", 1), ["x"], None, False),
    (mark("x", 1), [], Reopened(1, True, None, 5, 1, 1, None, 99), False),
    (mark("x", 1, State.RETRYING), [], Reopened(1, True, State.RETRYING, 5, 1, 1, None, 99), True),
    (letter("x", 3, generation=1), ["x"], Reopened(1, False, None, 2, 1, 8, None, None), True),
    (mark("x", 2), [], Reopened(2, True, None, 5, 1, 1, None, 99), True),
    (mark("x", 2, State.DELIVERED), [], Reopened(2, False, State.DELIVERED, 5, 1, 1, None, 99), True),
]
"""Of an id: what is told, and then whether it is listed, whether it is open, whether redrive 1 is settled."""


async def test_an_id_is_listed_and_opened_again_by_turns(tmp_path: Path) -> None:
    async with opened(tmp_path) as index:
        for news, listed, again, settled in LIFE:
            await index.put([("a", news)], {})
            assert await ids(index) == listed
            assert await index.reopened("a", "x") == again
            assert await index.settled("a", [("x", 1)]) == ({("x", 1)} if settled else set())


@pytest.mark.parametrize("last", range(1, len(LIFE) + 1))
async def test_it_does_not_matter_in_which_order_or_how_often_it_is_told(tmp_path: Path, last: int) -> None:
    _, listed, again, _ = LIFE[last - 1]
    async with opened(tmp_path) as index:
        for number, order in enumerate(itertools.permutations(LIFE[:last])):
            told = [news._replace(id=f"{number}") for news, *_ in order]
            await index.put([("a", news) for news in (*told, told[0])], {})
            assert await ids(index) == ([f"{number}"] if listed else [])
            assert await index.reopened("a", f"{number}") == again
            await index.put([("a", mark(f"{number}", 3, purged=True))], {})


async def test_what_was_purged_does_not_come_back_but_a_later_death_does(tmp_path: Path) -> None:
    async with opened(tmp_path) as index:
        await index.put([("a", letter("x")), ("a", mark("x", 0, purged=True)), ("a", letter("x", 9))], {})
        assert await ids(index) == []
        assert await index.reopened("a", "x") is None
        await index.put([("a", letter("x", 10, generation=1))], {})
        assert await ids(index) == ["x"]


async def test_what_is_too_old_is_forgotten(tmp_path: Path) -> None:
    async with opened(tmp_path) as index:
        young = letter("young", 1, died_at=100)
        await index.put(
            [("a", letter("old")), ("a", mark("marked", 1)), ("a", young), ("b", letter("old"))], {}
        )
        await index.forget("a", 50)
        assert await ids(index) == ["young"]
        assert await index.reopened("a", "marked") is None
        assert await index.count("b", ALL) == 1
