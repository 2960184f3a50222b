from __future__ import annotations

import asyncio

import pytest

from bufferproxy.clock import SystemClock, rfc3339
from bufferproxy.testing.clock import FakeClock


async def test_advance_wakes_sleepers_in_the_order_of_their_times() -> None:
    clock, woken = FakeClock(), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.now() - 1000))

    async with asyncio.TaskGroup() as group:
        for seconds in (3.0, 1.0, 2.0):
            group.create_task(sleeper(seconds))
        await clock.advance(5)
    assert woken == [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]
    assert clock.now() == 1005


async def test_who_sleeps_again_within_the_time_is_woken_again() -> None:
    clock, ticks = FakeClock(), []

    async def ticker() -> None:
        while True:
            await clock.sleep(1)
            ticks.append(clock.now())

    running = asyncio.create_task(ticker())
    await clock.advance(3.5)
    assert ticks == [1001, 1002, 1003]
    running.cancel()


async def test_sleepers_at_the_same_time_wake_in_the_order_they_fell_asleep() -> None:
    clock, woken = FakeClock(), []
    for name in "abc":
        clock.call_later(1, lambda name=name: woken.append(name))
    await clock.advance(1)
    assert woken == ["a", "b", "c"]


async def test_what_is_cancelled_does_not_ring() -> None:
    clock, rung = FakeClock(), []
    timer = clock.call_later(1, lambda: rung.append(1))
    sleeping = asyncio.create_task(clock.sleep(1))
    await clock.until_set(2)
    timer.cancel()
    sleeping.cancel()
    await clock.advance(2)
    assert (rung, clock.waiting, clock.next_at) == ([], 0, None)


async def test_who_is_not_due_sleeps_on() -> None:
    clock = FakeClock()
    clock.call_later(2, lambda: None)
    await clock.advance(1.5)
    assert clock.waiting == 1
    assert clock.next_at == 1002


async def test_a_shift_wakes_nobody_until_the_next_advance() -> None:
    clock, at = FakeClock(), []
    clock.call_later(1, lambda: at.append(clock.now()))
    clock.shift(10)
    assert at == []
    await clock.advance(0)
    assert at == [1010]


async def test_sleeping_for_no_time_gives_way_once() -> None:
    clock = FakeClock()
    await clock.sleep(0)
    assert clock.waiting == 0


def test_the_time_of_day_can_be_set_apart_from_intervals() -> None:
    clock = FakeClock(now=5, wall=1_000_000)
    clock.set_wall(2_000_000)
    assert (clock.now(), clock.wall()) == (5, 2_000_000)


def test_randoms_come_in_turn_and_nonces_differ() -> None:
    clock = FakeClock(randoms=(0.1, 0.9))
    assert [clock.random() for _ in range(3)] == [0.1, 0.9, 0.1]
    nonces = {clock.nonce() for _ in range(100)}
    assert len(nonces) == 100
    assert {len(nonce) for nonce in nonces} == {12}
    assert repr(clock) == "<FakeClock now=1000.000 waiting=0>"


def test_no_nonce_comes_twice_across_reads_of_the_system_generator() -> None:
    clock = SystemClock()
    nonces = {clock.nonce() for _ in range(1000)}
    assert len(nonces) == 1000
    assert {len(nonce) for nonce in nonces} == {12}


async def test_the_system_clock_calls_back_on_the_loop() -> None:
    called = asyncio.Event()
    SystemClock().call_later(0.0, called.set)
    await called.wait()


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1769860800250, "2026-01-31T12:00:00.250Z"),
        (1769860800999, "2026-01-31T12:00:00.999Z"),
        (1769860801000, "2026-01-31T12:00:01.000Z"),
    ],
)
def test_times_are_written_in_rfc_3339(ms: int, text: str) -> None:
    assert rfc3339(ms) == text


async def test_while_the_machine_is_suspended_time_goes_on_and_timers_stand_still() -> None:
    clock, at = FakeClock(), []
    clock.call_later(5, lambda: at.append((clock.now(), clock.wall())))
    wall = clock.wall()
    await clock.advance(2)
    clock.suspend(3600)
    await clock.advance(2.5)
    assert at == []
    await clock.advance(1)
    assert at == [(4605, wall + 3605)]
