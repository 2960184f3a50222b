from __future__ import annotations

import asyncio
from collections.abc import Collection

from hypothesis import given
from hypothesis import strategies as st

from bufferproxy.clock import SystemClock
from bufferproxy.log.contract import Keep, Topic
from bufferproxy.log.leases import share
from bufferproxy.log.local import FETCH
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.records import Entry, Partition
from bufferproxy.testing.log_world import PATIENCE, Holding

TOPIC = Topic("topic", 4, Keep())

members = st.lists(st.sampled_from("abcdef"), unique=True)
holders = st.lists(st.one_of(st.none(), st.sampled_from("abcdef")), max_size=20).map(
    lambda held: dict(enumerate(held))
)


@given(holders, members)
def test_everything_is_shared_evenly_among_the_members(held: dict[int, str | None], among: list[str]) -> None:
    shared = share(held, among)
    assert set(shared) == set(held)
    if not among:
        assert set(shared.values()) <= {None}
        return
    loads = [sum(holder == member for holder in shared.values()) for member in among]
    assert sum(loads) == len(held)
    assert max(loads) - min(loads) <= 1


@given(holders, members)
def test_nobody_gives_away_more_than_evenness_asks_for(held: dict[int, str | None], among: list[str]) -> None:
    shared = share(held, among)
    for member in among:
        had = {number for number, holder in held.items() if holder == member}
        has = {number for number, holder in shared.items() if holder == member}
        if had - has:
            assert not has - had, "what is given away is not replaced"
            assert len(has) >= len(held) // len(among)


class HastyClock(SystemClock):
    """However long a wait, it is over at once."""

    async def sleep(self, seconds: float) -> None:  # type: ignore[override]
        await asyncio.sleep(0)


async def test_a_holder_that_does_not_let_go_loses_its_lease() -> None:
    log = MemoryLog(Memory(), HastyClock())
    await log.ensure([TOPIC], create=True)
    stuck = Holding()
    forever = asyncio.Event()
    stuck.on_revoking = lambda _: forever.wait()
    reader = await log.reader("group", [TOPIC.name], stuck)
    held = dict(stuck.leases)
    other = Holding()
    await log.reader("group", [TOPIC.name], other)
    assert stuck.calls == ["granted", "lost"]
    assert len(stuck.leases) == len(other.leases) == 2
    refused = await reader.commit({p: (held[p].epoch, 0) for p in other.leases})
    assert set(refused) == set(other.leases)


async def test_a_holder_whose_hand_over_fails_loses_its_lease() -> None:
    log = MemoryLog()
    await log.ensure([TOPIC], create=True)
    failing = Holding()

    def fail(_: Collection[Partition]) -> None:
        raise RuntimeError("cannot let go")

    failing.on_revoking = fail
    await log.reader("group", [TOPIC.name], failing)
    other = Holding()
    await log.reader("group", [TOPIC.name], other)
    assert failing.calls == ["granted", "lost"]
    assert len(other.leases) == 2


async def test_whoever_stops_waiting_for_its_share_leaves_it_to_the_others() -> None:
    log = MemoryLog()
    await log.ensure([TOPIC], create=True)
    slow = Holding()
    asked = asyncio.Event()

    async def hang(_: Collection[Partition]) -> None:
        asked.set()
        await asyncio.Event().wait()

    slow.on_revoking = hang
    await log.reader("group", [TOPIC.name], slow)
    joining = asyncio.ensure_future(log.reader("group", [TOPIC.name], Holding()))
    await asked.wait()
    joining.cancel()
    await asyncio.gather(joining, return_exceptions=True)
    assert joining.cancelled()
    await slow.until(lambda: len(slow.leases) == 4)
    assert slow.calls == ["granted", "lost", "granted"]


async def test_who_leaves_during_a_hand_over_leaves_everything() -> None:
    log = MemoryLog()
    await log.ensure([TOPIC], create=True)
    leaving = Holding()
    asked = asyncio.Event()
    let_go = asyncio.Event()

    async def wait(_: Collection[Partition]) -> None:
        asked.set()
        await let_go.wait()

    leaving.on_revoking = wait
    reader = await log.reader("group", [TOPIC.name], leaving)
    staying = Holding()
    joining = asyncio.ensure_future(log.reader("group", [TOPIC.name], staying))
    await asked.wait()
    await reader.close()
    let_go.set()
    await joining
    assert len(staying.leases) == 4


async def test_a_partition_that_comes_back_is_not_paused_any_more() -> None:
    log = MemoryLog()
    await log.ensure([TOPIC], create=True)
    first = Holding()
    reader = await log.reader("group", [TOPIC.name], first)
    for partition in first.leases:
        reader.pause(partition)
    between = Holding()
    other = await log.reader("group", [TOPIC.name], between)
    (back, *_) = between.leases
    await other.close()
    await log.append(back, Entry(None, b"heard", ()))
    async with asyncio.timeout(PATIENCE):
        assert [record.value for record in await reader.fetch()] == [b"heard"]


async def test_a_long_partition_does_not_keep_the_others_waiting() -> None:
    log = MemoryLog()
    await log.ensure([TOPIC], create=True)
    long, short = Partition(TOPIC.name, 0), Partition(TOPIC.name, 1)
    for _ in range(3 * FETCH):
        log.submit(long, Entry(None, b"long", ()), lambda _: None)
    await log.append(short, Entry(None, b"short", ()))
    reader = await log.reader("group", [TOPIC.name], Holding())
    first_two = [*await reader.fetch(), *await reader.fetch()]
    assert b"short" in [record.value for record in first_two]
