"""What happens when the disk is full, and how much of it the log takes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest

from bufferproxy.clock import SystemClock
from bufferproxy.database import PAGE, WAL_CAP
from bufferproxy.errors import AppendRefused, LogUnusable, StorageFull
from bufferproxy.log.contract import Appended, Keep, Topic
from bufferproxy.log.sqlite import SqliteLog, open_sqlite
from bufferproxy.records import Entry, Partition, Position
from bufferproxy.testing.log_world import Holding, Member

REQUESTS = Partition("bufferproxy.auth.requests", 0)
RESULTS = Partition("bufferproxy.auth.results", 0)
GROUP = "bufferproxy.auth"
TOPICS = (
    Topic(REQUESTS.topic, 1, Keep(committed_by=GROUP), 2 << 20),
    Topic(RESULTS.topic, 1, Keep(seconds=3600), 2 << 20),
)


class SkewedClock(SystemClock):
    """Its time of day can be moved."""

    ahead = 0.0

    def wall(self) -> float:  # type: ignore[override]
        return time.time() + self.ahead


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """16 MiB that are really all there is."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
async def clock() -> SkewedClock:
    return SkewedClock()


@pytest.fixture
async def log(tmp_path: Path, clock: SkewedClock) -> AsyncIterator[SqliteLog]:
    log = await opened(tmp_path / "log.db", clock=clock)
    yield log
    await log.close()


async def opened(path: Path, *, reserve: int = 0, clock: SystemClock | None = None) -> SqliteLog:
    def fatal(error: BaseException) -> None:
        raise AssertionError from error

    log = await open_sqlite(path, reserve=reserve, fatal=fatal, clock=clock)
    await log.ensure(TOPICS, create=True)
    return log


async def join(log: SqliteLog) -> Member:
    holding = Holding()
    return Member(await log.reader(GROUP, [REQUESTS.topic], holding), holding)


async def fill(log: SqliteLog, partition: Partition, size: int = 100_000) -> int:
    """Appends until it is refused. Returns how many were acknowledged."""
    for stored in range(10_000):
        try:
            await log.append(partition, Entry(None, os.urandom(size), ()))
        except StorageFull:
            return stored
    raise AssertionError("the disk is never full")


async def settle(member: Member, log: SqliteLog, count: int) -> None:
    records = await member.take(count)
    assert not await member.commit(records[-1])
    await log.trim()


async def test_a_full_disk_refuses_and_accepts_again_when_there_is_room(small_disk: Path) -> None:
    log = await opened(small_disk / "log.db")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(6 << 20))
    stored = await fill(log, REQUESTS)
    assert stored > 10
    ballast.unlink()
    await log.append(REQUESTS, Entry(None, b"there is room again", ()))
    member = await join(log)
    records = await member.take(stored + 1)
    assert records[-1].value == b"there is room again"
    await log.close()


async def test_the_reserve_is_for_settling(small_disk: Path) -> None:
    log = await opened(small_disk / "log.db", reserve=8 << 20)
    stored = await fill(log, REQUESTS)
    await log.append(RESULTS, Entry(b"id", bytes(100_000), ()))
    with pytest.raises(StorageFull):
        await log.append(REQUESTS, Entry(None, b"fresh", ()))
    assert log.short
    await settle(await join(log), log, stored)
    async with asyncio.timeout(30):
        while True:  # one look at the free space holds for a tenth of a second
            try:
                await log.append(REQUESTS, Entry(None, b"room again", ()))
            except StorageFull:
                continue
            break
    assert not log.short
    await log.close()


async def test_the_write_ahead_log_does_not_keep_the_room_that_settling_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds as much as the file when the disk is half full, and keeps its size when it has been copied."""

    def statvfs(folder: Path) -> os.statvfs_result:
        left = (16 << 20) - sum(file.stat().st_size for file in folder.iterdir() if file.suffix != ".db-shm")
        return os.statvfs_result((4096, 4096, 4096, left // 4096, left // 4096, 0, 0, 0, 0, 255))

    monkeypatch.setattr(os, "statvfs", statvfs)
    log = await opened(tmp_path / "log.db", reserve=8 << 20)
    stored = await fill(log, REQUESTS)
    assert stored > 40
    await settle(await join(log), log, stored)
    async with asyncio.timeout(5):
        while isinstance(await tried(log), StorageFull):  # one look holds for a tenth of a second
            pass
    await log.close()


async def tried(log: SqliteLog) -> Position | AppendRefused:
    try:
        return await log.append(REQUESTS, Entry(None, b"room again", ()))
    except AppendRefused as refused:
        return refused


async def test_what_was_refused_is_no_place_to_read_on_from(log: SqliteLog) -> None:
    """What a full disk undid has no offsets: a reader at the end gets what is stored there afterwards."""
    tail = await log.tail({REQUESTS: 0})
    await log.append(REQUESTS, Entry(None, b"before", ()))
    assert [record.value for record in await tail.fetch()] == [b"before"]
    fetch = asyncio.ensure_future(tail.fetch())
    await log.database.transact(lambda c: c.execute("PRAGMA max_page_count=1").fetchone())
    for _ in range(3):
        with pytest.raises(StorageFull):
            await log.append(REQUESTS, Entry(None, bytes(100_000), ()))
    await log.database.transact(lambda c: c.execute("PRAGMA max_page_count=1000000").fetchone())
    await log.append(REQUESTS, Entry(None, b"after", ()))
    async with asyncio.timeout(5):
        assert [record.value for record in await fetch] == [b"after"]
    await log.close()


async def test_what_a_full_disk_refused_is_not_there_after_a_restart(small_disk: Path) -> None:
    log = await opened(small_disk / "log.db")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    stored = await fill(log, RESULTS)
    await log.close()
    ballast.unlink()
    log = await opened(small_disk / "log.db")
    assert (await log.lag("nobody", [RESULTS.topic]))[RESULTS].records == stored
    await log.close()


async def test_more_than_the_queue_holds_is_refused_at_once(log: SqliteLog) -> None:
    answers: list[Appended] = []
    for _ in range(100):
        log.submit(REQUESTS, Entry(None, bytes(1 << 20), ()), answers.append)
    refused = [answer for answer in answers if isinstance(answer, AppendRefused)]
    assert 30 < len(refused) < 100
    await log.append(RESULTS, Entry(None, b"small enough", ()))
    await log.close()
    assert len(answers) == 100
    assert sum(isinstance(answer, Position) for answer in answers) == 100 - len(refused)


async def test_with_a_steady_backlog_the_file_does_not_grow(log: SqliteLog) -> None:
    member = await join(log)
    sizes = []
    for _ in range(8):
        await asyncio.gather(*[log.append(REQUESTS, Entry(None, os.urandom(4096), ())) for _ in range(1500)])
        await settle(member, log, 1500)
        sizes.append(log.database.path.stat().st_size)
    # Where the rows of a batch end depends on how many came together: a page more or less.
    assert sizes[-1] <= max(sizes[:4]) + 4 * PAGE


async def test_after_a_large_backlog_the_file_shrinks(log: SqliteLog) -> None:
    await asyncio.gather(*[log.append(REQUESTS, Entry(None, bytes(1 << 20), ())) for _ in range(50)])
    await settle(await join(log), log, 50)
    path = log.database.path
    await log.close()
    assert path.stat().st_size < 25 << 20


async def test_the_write_ahead_log_stays_below_its_cap_while_somebody_always_reads(log: SqliteLog) -> None:
    tail = await log.tail({RESULTS: 0})
    wal = f"{log.database.path}-wal"

    async def read(count: int) -> None:
        while count > 0:
            count -= len(await tail.fetch())

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(read(300))
        for _ in range(20):
            await asyncio.gather(
                *[log.append(RESULTS, Entry(None, os.urandom(500_000), ())) for _ in range(15)]
            )
            assert os.stat(wal).st_size < WAL_CAP + (32 << 20)


async def test_results_go_when_they_are_old_enough_and_not_before(log: SqliteLog, clock: SkewedClock) -> None:
    async def kept() -> list[bytes]:
        return [record.value for record in await log.read(Position(RESULTS, 0), 100)]

    for hour in range(4):
        clock.ahead = hour * 1800.0
        await log.append(RESULTS, Entry(None, b"%d" % hour, ()))
    clock.ahead += 60
    await log.trim()
    assert await kept() == [b"2", b"3"]
    clock.ahead = 3 * 1800.0 + 3540
    await log.trim()
    assert await kept() == [b"3"]
    clock.ahead += 120
    await log.trim()
    assert await kept() == []
    assert (await log.append(RESULTS, Entry(None, b"next", ()))).offset == 4


async def test_tombstones_of_a_compact_topic_stay_for_a_day(log: SqliteLog, clock: SkewedClock) -> None:
    state = Partition("bufferproxy.state", 0)
    await log.ensure([Topic(state.topic, 1, Keep(compact=True))], create=True)

    async def kept() -> Mapping[bytes | None, bytes]:
        return {record.key: record.value for record in await log.read(Position(state, 0), 100)}

    for key, value in ((b"a", b"1"), (b"b", b"2"), (b"a", b""), (b"c", b"")):
        await log.append(state, Entry(key, value, ()))
    await log.trim()
    assert await kept() == {b"b": b"2", b"a": b"", b"c": b""}
    clock.ahead = 24 * 3600.0 + 60
    await log.trim()
    assert await kept() == {b"b": b"2", b"c": b""}  # the last record tells where the end is
    assert (await log.lag("anybody", [state.topic]))[state].records == 2


async def test_a_start_without_any_room_says_so(small_disk: Path) -> None:
    await (await opened(small_disk / "log.db")).close()
    with contextlib.suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))
    with pytest.raises(LogUnusable, match="room"):
        await opened(small_disk / "log.db")
    (small_disk / "ballast").unlink()
    await (await opened(small_disk / "log.db")).close()
