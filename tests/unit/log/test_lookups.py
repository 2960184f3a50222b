from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bufferproxy.errors import LogUnavailable
from bufferproxy.log.contract import Keep, Topic
from bufferproxy.log.lookups import SPAN, SPAN_BYTES, RecordLookups
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.records import Entry, Partition, Position, Record

if TYPE_CHECKING:
    from collections.abc import Sequence

A, B = Partition("t", 0), Partition("t", 1)


class SlowLog(MemoryLog):
    """Answers reads when it is told to."""

    def __init__(self) -> None:
        super().__init__(Memory())
        self.reads: list[tuple[Position, int]] = []
        self.answers = asyncio.Event()
        self.failure: Exception | None = None

    async def read(self, position: Position, limit: int) -> Sequence[Record]:
        self.reads.append((position, limit))
        await self.answers.wait()
        if self.failure is not None:
            raise self.failure
        return await super().read(position, limit)


@pytest.fixture
async def log() -> SlowLog:
    log = SlowLog()
    await log.ensure([Topic("t", 2, Keep(compact=True), max_bytes=2 * SPAN_BYTES)], create=True)
    for number in range(300):
        await log.append(A, Entry(b"%d" % number, b"x", ()))
    return log


async def asked(lookups: RecordLookups, *positions: Position) -> list[asyncio.Task[Record | None]]:
    """All have asked, and wait."""
    tasks = [asyncio.create_task(lookups.record_at(position)) for position in positions]
    await asyncio.sleep(0)
    return tasks


async def offsets(tasks: list[asyncio.Task[Record | None]]) -> list[int | None]:
    async with asyncio.timeout(5):
        return [None if record is None else record.offset for record in await asyncio.gather(*tasks)]


async def test_who_asks_alone_reads_one_record_at_once(log: SlowLog) -> None:
    lookups = RecordLookups(log)
    log.answers.set()
    assert await offsets(await asked(lookups, Position(A, 7))) == [7]
    assert await offsets(await asked(lookups, Position(A, 300))) == [None]
    assert log.reads == [(Position(A, 7), 1), (Position(A, 300), 1)]
    assert repr(lookups) == "<RecordLookups of 0 partitions>"


async def test_whoever_comes_while_a_partition_is_read_shares_the_next_read(log: SlowLog) -> None:
    lookups = RecordLookups(log)
    wanted = [7, 30, 12, 12, 50, *range(13, 20)]
    tasks = await asked(lookups, *(Position(A, offset) for offset in wanted), Position(B, 0))
    log.answers.set()
    assert await offsets(tasks) == [*wanted, None]
    assert log.reads == [(Position(A, 7), 1), (Position(B, 0), 1), (Position(A, 12), 39)]


async def test_what_lies_far_apart_is_read_apart_and_what_lies_past_the_end_at_once(log: SlowLog) -> None:
    lookups = RecordLookups(log)
    wanted = [0, 1, SPAN, SPAN + 1, 2 * SPAN, 1000, 10_000_000]
    tasks = await asked(lookups, *(Position(A, offset) for offset in wanted))
    log.answers.set()
    assert await offsets(tasks) == [0, 1, SPAN, SPAN + 1, 2 * SPAN, None, None]
    expected = [(0, 1), (1, SPAN), (SPAN + 1, SPAN), (1000, 1)]
    assert log.reads == [(Position(A, offset), limit) for offset, limit in expected]


async def test_gaps_hold_nothing(log: SlowLog) -> None:
    for number in range(20, 100):
        await log.append(A, Entry(b"%d" % number, b"", ()))
    log.trim()  # the newest of each key stays
    tasks = await asked(lookups := RecordLookups(log), *(Position(A, offset) for offset in (5, 10, 50, 60)))
    log.answers.set()
    assert await offsets(tasks) == [5, 10, None, None]
    assert len(log.reads) == 2, f"{lookups}"


async def test_large_records_are_not_read_many_at_a_time(log: SlowLog) -> None:
    for _ in range(8):
        await log.append(B, Entry(None, b"x" * (SPAN_BYTES // 2), ()))
    tasks = await asked(RecordLookups(log), *(Position(B, offset) for offset in range(7)))
    log.answers.set()
    assert await offsets(tasks) == [*range(7)]
    assert log.reads == [(Position(B, 0), 1), *((Position(B, offset), 2) for offset in (1, 3, 5))]


async def test_a_failure_reaches_all_that_wait_and_nobody_after_them(log: SlowLog) -> None:
    lookups = RecordLookups(log)
    log.failure = LogUnavailable("away")
    tasks = await asked(lookups, *(Position(A, offset) for offset in range(4)))
    log.answers.set()
    async with asyncio.timeout(5):
        failures = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(failure) for failure in failures] == [LogUnavailable] * 4
    log.failure = None
    assert await offsets(await asked(lookups, Position(A, 2))) == [2]


@pytest.mark.parametrize("gone", [0, 1, 2])
async def test_one_that_hangs_up_takes_nobody_along(log: SlowLog, gone: int) -> None:
    lookups = RecordLookups(log)
    tasks = await asked(lookups, Position(A, 1), Position(A, 2), Position(A, 2))
    tasks[gone].cancel()
    await asyncio.wait(tasks[gone : gone + 1])
    log.answers.set()
    kept = [task for task in tasks if not task.cancelled()]
    assert await offsets(kept) == [1, 2, 2][:gone] + [1, 2, 2][gone + 1 :]
    assert repr(lookups) == "<RecordLookups of 0 partitions>"
