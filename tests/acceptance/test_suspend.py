"""Linux has a clock that counts suspend, and timers that do not: after an hour of suspend they are an hour
apart for good. A time namespace sets them so without one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.promises import nothing_lost, over_ceiling

if TYPE_CHECKING:
    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance

HOUR = 3600
RATE = 100


def slept(clock: str, command: tuple[str, ...] = ()) -> float:
    """Seconds by which a clock is ahead of one that does not count suspend."""
    look = f"import time; from bufferproxy.clock import SystemClock; print({clock} - time.monotonic())"
    shown = subprocess.run([*command, sys.executable, "-c", look], check=True, capture_output=True)
    return float(shown.stdout)


@pytest.fixture(scope="session")
def hour_apart() -> tuple[str, ...]:
    """A command that runs another where an hour was slept through. Skips where that cannot be had."""
    command = ("unshare", "--time", "--boottime", str(HOUR))
    boot = "time.clock_gettime(time.CLOCK_BOOTTIME)"
    try:
        apart = slept(boot, command) - slept(boot)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no time namespaces here: {error}")
    if apart < HOUR / 2:
        pytest.skip("this kernel puts nobody but children into a new time namespace")
    return command


def test_the_clock_for_intervals_counts_what_was_slept_through(hour_apart: tuple[str, ...]) -> None:
    """A lease that ran out meanwhile must not seem valid."""
    apart = slept("SystemClock.now()", hour_apart) - slept("SystemClock.now()")
    assert apart == pytest.approx(HOUR, abs=5.0)


async def test_after_an_hour_of_suspend_everything_takes_as_long_as_before(
    world: World, hour_apart: tuple[str, ...]
) -> None:
    """Rate, delay, retry, a caller that is held: whatever waits for a moment of one clock by a timer of the
    other would wait for an hour, or not at all."""
    await asyncio.to_thread(world.start, rate=f"{RATE}/s", retry={"first": "1s", "jitter": "none"})
    for process in world.processes:
        process.prefix = hour_apart
        process.kill()
        await asyncio.to_thread(process.start)
    world.recorder.mode(first=[500], only="/again")
    async with Load(world.proxy.url, connections=20) as load:
        later = await load.one(Sent(b"/later", headers=((b"Bufferproxy-Delay", b"3s"),)))
        again = await load.one(Sent(b"/again"))
        told = await load.send(Sent(b"/n/%d" % n) for n in range(2 * RATE))
        held = await load.one(Sent(b"/held", headers=((b"Prefer", b"wait=20"),)))
    assert held.status == 200
    ids = [one.id for one in (later, again, *told)]
    arrivals = await asyncio.to_thread(world.recorder.await_ids, ids, 20.0)
    assert nothing_lost(ids, arrivals) == []
    assert over_ceiling([arrival.at for arrival in arrivals], rate=RATE, burst=1, window=1.0) == []
    due = datetime.fromisoformat(later.json["accepted_at"]).timestamp() + 3.0
    (delivered,) = (arrival.at for arrival in arrivals if arrival.id == later.id)
    assert due <= delivered < due + 2.0
    await asyncio.to_thread(world.recorder.await_count, len(ids) + 2, 20.0)
    first, second = sorted(arrival.at for arrival in world.recorder.arrivals() if arrival.id == again.id)
    assert 1.0 <= second - first < 5.0
