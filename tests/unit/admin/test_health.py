from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from bufferproxy.admin.contract import Check
from bufferproxy.admin.health import PING, SILENCE, Draining, LogWatch, Readiness, StorageWatch
from bufferproxy.admin.progress import Progress, ProgressWatch, Seen, patience_for
from bufferproxy.errors import LogUnavailable
from bufferproxy.observe.events import Event, HealthChanged


class Clock:
    """Time moves when the test says so; `turn` lets one sleeper go on until it sleeps again."""

    def __init__(self) -> None:
        self.time = 0.0
        self.asleep = asyncio.Semaphore(0)
        self._wake = asyncio.Semaphore(0)

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time

    def random(self) -> float:
        return 0.5

    def nonce(self) -> bytes:
        return bytes(12)

    async def sleep(self, seconds: float) -> None:
        self.asleep.release()
        await self._wake.acquire()

    async def turn(self, seconds: float) -> None:
        self.time += seconds
        self._wake.release()
        await self.asleep.acquire()


class Log:
    warning = ""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()

    async def ping(self) -> None:
        self.asked.set()
        await self.answers.wait()
        if self.error is not None:
            raise self.error


@asynccontextmanager
async def running(watch: LogWatch) -> AsyncIterator[None]:
    task = asyncio.create_task(watch.run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_the_log_is_not_ready_before_its_first_answer() -> None:
    assert LogWatch(Log(), Clock()).check() == Check("log", ok=False, detail="has not answered yet")


async def test_a_lost_log_is_noticed_and_so_is_its_return() -> None:
    log, clock = Log(), Clock()
    watch = LogWatch(log, clock)
    async with running(watch):
        await clock.asleep.acquire()
        assert watch.check().ok
        log.error = LogUnavailable("broker is gone")
        await clock.turn(PING)
        assert watch.check() == Check("log", ok=False, detail="broker is gone")
        log.error = None
        await clock.turn(PING)
        assert watch.check().ok


async def test_what_a_log_that_answers_warns_of_is_shown() -> None:
    log, clock = Log(), Clock()
    log.warning = "another program has been reading it for long"
    watch = LogWatch(log, clock)
    async with running(watch):
        await clock.asleep.acquire()
        assert watch.check() == Check("log", ok=True, detail=log.warning)


async def test_a_ping_that_never_comes_back_counts_as_failed() -> None:
    log, clock = Log(), Clock()
    watch = LogWatch(log, clock)
    async with running(watch):
        await clock.asleep.acquire()
        log.answers.clear()
        log.asked.clear()
        clock._wake.release()
        await log.asked.wait()
        clock.time += SILENCE
        assert watch.check().ok
        clock.time += 1
        assert watch.check() == Check("log", ok=False, detail="has not answered for 5 s")


async def test_a_bug_in_the_log_is_not_taken_for_an_outage() -> None:
    log = Log()
    log.error = TypeError("bug")
    with pytest.raises(TypeError):
        await LogWatch(log, Clock()).run()


class Rooms:
    shortage = ""
    hopeless = False


def test_a_shortage_that_draining_ends_is_told_and_one_that_it_cannot_end_turns_readiness_off() -> None:
    rooms = Rooms()
    watch = StorageWatch(rooms)
    assert watch.check() == Check("storage", ok=True)
    rooms.shortage = "storage.reserve keeps 1GiB free"
    assert watch.check() == Check("storage", ok=True, detail=rooms.shortage)
    rooms.hopeless = True
    assert watch.check() == Check("storage", ok=False, detail=rooms.shortage)


def test_draining_turns_readiness_off() -> None:
    draining = Draining()
    assert draining.check().ok
    draining.begin()
    assert draining.check() == Check("draining", ok=False, detail="this replica is shutting down")


def test_a_check_that_turns_is_told_once() -> None:
    told: list[Event] = []
    now = Check("log", ok=False, detail="has not answered yet")
    readiness = Readiness([lambda: now, Draining().check], told.append)
    readiness.look()
    readiness.look()
    now = Check("log", ok=True)
    readiness.look()
    readiness.look()
    assert told == [
        HealthChanged("log", ok=False, detail="has not answered yet"),
        HealthChanged("log", ok=True, detail=""),
    ]
    assert [check.name for check in readiness.checks()] == ["log", "draining"]


WORK = Seen(work=5, moved=10, excused=False, allowed=50.0)


def test_work_that_moves_is_never_stuck() -> None:
    progress = Progress()
    assert [progress.look(now, WORK._replace(moved=now)) for now in range(5)] == [0, 0, 0, 0, 0]


def test_work_that_does_not_move_is_timed_from_its_last_movement() -> None:
    progress = Progress()
    assert [progress.look(now, WORK) for now in (100.0, 110.0, 120.0)] == [0, 10, 20]
    assert progress.look(121.0, WORK._replace(moved=11)) == 0


def test_the_time_in_which_nobody_looked_does_not_count() -> None:
    """After an hour of suspend nothing can have moved yet."""
    progress = Progress()
    assert [progress.look(now, WORK) for now in (100.0, 101.0, 3701.0, 3702.0)] == [0, 1, 0, 1]


@pytest.mark.parametrize("fine", [WORK._replace(work=0), WORK._replace(excused=True)])
def test_who_has_no_work_or_may_not_work_is_not_stuck(fine: Seen) -> None:
    progress = Progress()
    progress.look(0.0, WORK)
    assert progress.look(100.0, fine) == 0
    assert progress.look(110.0, WORK) == 10


def test_a_slow_rate_is_given_time() -> None:
    assert patience_for(50.0, 60.0) == 60.0
    assert patience_for(1 / 60, 60.0) == pytest.approx(180.0)
    assert patience_for(0.0, 60.0) == 60.0


def test_the_check_names_the_service_that_is_stuck_and_no_other() -> None:
    clock = Clock()
    watch = ProgressWatch(clock, grace=30.0)
    watch.register("auth", lambda: WORK, timeout=30.0)
    watch.register("mail", lambda: WORK._replace(moved=clock.time), timeout=30.0)
    for clock.time in range(0, 61, 10):
        assert watch.check().ok
    clock.time = 61.0
    assert watch.check() == Check(
        "progress", ok=False, detail="auth has 5 to deliver and moved nothing for 61 s"
    )
    watch.forget("auth")
    assert watch.check().ok
    watch.register("pay", lambda: WORK._replace(moved=clock.time, trouble="it cannot commit"), timeout=30.0)
    assert watch.check() == Check("progress", ok=False, detail="pay: it cannot commit")
