"""Batches as rows: read from the middle, trimmed in the middle, and with one of them missing."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bufferproxy.errors import LogUnusable
from bufferproxy.log.contract import Keep, Lag, Topic
from bufferproxy.log.sqlite import SqliteLog, open_sqlite
from bufferproxy.records import Entry, Partition, Position
from bufferproxy.testing.log_world import Holding, Member, gather, values

REQUESTS = Partition("bufferproxy.auth.requests", 0)
GROUP = "bufferproxy.auth"


async def opened(path: Path) -> SqliteLog:
    log = await open_sqlite(path)
    await log.ensure([Topic(REQUESTS.topic, 1, Keep(committed_by=GROUP), 4 << 20)], create=True)
    return log


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    log = await opened(tmp_path / "log.db")
    yield log
    await log.close()


async def store(log: SqliteLog, *batch: bytes) -> None:
    """In one transaction: the writer is kept busy until all of it has been submitted."""
    submitted = asyncio.Event()
    loop = asyncio.get_running_loop()
    waiting = asyncio.run_coroutine_threadsafe
    busy = loop.create_task(
        log.database.transact(lambda _: waiting(submitted.wait(), loop).result(5))  # type: ignore[arg-type]
    )
    await asyncio.sleep(0)
    appends = [loop.create_task(log.append(REQUESTS, Entry(None, value, ()))) for value in batch]
    await asyncio.sleep(0)
    submitted.set()
    await asyncio.gather(busy, *appends)


async def rows(log: SqliteLog) -> list[tuple[int, int]]:
    return await log.database.read(
        lambda connection: connection.execute("SELECT base, count FROM batches_1 ORDER BY base").fetchall()
    )


def numbered(first: int, last: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, last)]


async def test_what_one_transaction_appends_is_one_row(log: SqliteLog) -> None:
    await store(log, *numbered(0, 10))
    await store(log, *numbered(10, 310))
    assert await rows(log) == [(0, 10), (10, 256), (266, 44)]
    for offset, limit in ((0, 3), (4, 2), (9, 2), (10, 256), (250, 30), (309, 9), (7, 303)):
        found = await log.read(Position(REQUESTS, offset), limit)
        assert values(found) == numbered(offset, min(offset + limit, 310))
        assert [record.offset for record in found] == list(range(offset, min(offset + limit, 310)))


async def test_a_trim_in_the_middle_of_a_batch_hides_what_is_settled(log: SqliteLog) -> None:
    await store(log, *numbered(0, 4))
    await store(log, *numbered(4, 10))
    holding = Holding()
    member = Member(await log.reader(GROUP, [REQUESTS.topic], holding), holding)
    await member.commit((await member.take(10))[6])
    await log.trim()
    assert await rows(log) == [(4, 6)]
    for _ in range(2):
        lag = (await log.lag(GROUP, [REQUESTS.topic]))[REQUESTS]
        assert lag == Lag(7, 7, 10, 3, 3)
        assert values(await log.read(Position(REQUESTS, 0), 100)) == numbered(7, 10)
        path = log.database.path
        await log.close()
        log = await opened(path)
    await log.close()


async def test_a_large_record_is_a_row_of_its_own(log: SqliteLog) -> None:
    await store(log, b"small", bytes(2 << 20), b"small", b"small")
    assert await rows(log) == [(0, 1), (1, 1), (2, 2)]
    assert [len(record.value) for record in await log.read(Position(REQUESTS, 0), 9)] == [5, 2 << 20, 5, 5]


async def test_behind_a_row_that_was_deleted_everything_is_still_read(tmp_path: Path) -> None:
    """That is the mend for a damaged one, so it must not hide what comes after it."""
    path = tmp_path / "log.db"
    log = await opened(path)
    for first in range(0, 2000, 200):
        await store(log, *numbered(first, first + 200))
    await log.close()
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM batches_1 WHERE base BETWEEN 200 AND 1000")
    connection.commit()
    connection.close()
    log = await opened(path)
    assert values(await log.read(Position(REQUESTS, 500), 300)) == numbered(1200, 1500)
    tail = await log.tail({REQUESTS: 0})
    assert values(await gather(tail, 1000)) == numbered(0, 200) + numbered(1200, 2000)
    assert (await log.lag(GROUP, [REQUESTS.topic]))[REQUESTS].records == 2000
    await log.close()


async def test_damage_names_the_records_and_the_row_to_delete(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    log = await opened(path)
    await store(log, b"before")
    await store(log, b"first", b"second-second", b"third")
    await store(log, b"behind")
    await log.close()
    content = path.read_bytes()
    path.write_bytes(content.replace(b"second-second", b"second-sEcond"))
    log = await opened(path)
    with pytest.raises(LogUnusable) as told:
        await log.read(Position(REQUESTS, 0), 10)
    said = re.escape(f"{path}: one of the records 1 to 3 of {REQUESTS.topic}, partition 0, is damaged")
    assert re.match(rf"{said} \(row 1 of table batches_1\): .* to go on without them all$", str(told.value))
    assert values(await log.read(Position(REQUESTS, 4), 10)) == [b"behind"]
    await log.close()
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM batches_1 WHERE base = 1")
    connection.commit()
    connection.close()
    log = await opened(path)
    assert values(await log.read(Position(REQUESTS, 0), 10)) == [b"before", b"behind"]
    await log.close()


@pytest.mark.parametrize("column", ["base", "count", "appended_at", "total", "names", "layout", "fields"])
async def test_every_column_of_a_row_is_checked(tmp_path: Path, column: str) -> None:
    path = tmp_path / "log.db"
    log = await opened(path)
    await log.append(REQUESTS, Entry(None, b"body", (("a", b"1"),)))
    await log.append(REQUESTS, Entry(None, b"body", (("b", b"1"),)))
    await log.close()
    other = {"names": "x'000161'", "layout": "x'00' || substr(layout, 2)", "fields": "x'626f647932'"}
    connection = sqlite3.connect(path)
    connection.execute(f"UPDATE batches_1 SET {column} = {other.get(column, f'{column} + 1')} WHERE base = 1")
    connection.commit()
    connection.close()
    log = await opened(path)
    with pytest.raises(LogUnusable, match="damaged"):
        await log.read(Position(REQUESTS, 0), 10)
    await log.close()


async def test_a_topic_that_keeps_everything_cannot_be_made_compact(log: SqliteLog) -> None:
    with pytest.raises(LogUnusable, match="keep every record"):
        await log.ensure([Topic(REQUESTS.topic, 1, Keep(compact=True))], create=True)
