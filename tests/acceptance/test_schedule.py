"""When a request is sent: not before its time, not after it has expired, and sooner than others."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from bufferproxy.testing.promises import Arrival
    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance


def _delayed(target: bytes, delay: bytes, *more: tuple[bytes, bytes], **fields: bytes) -> Sent:
    return Sent(target, **fields, headers=((b"Bufferproxy-Delay", delay), *more))


async def _status(load: Load, id_: str, *, until: str = "") -> Any:
    """The status of a request; with `until`, once it is in that state (long-polled)."""
    prefer = ((b"Prefer", b"wait=30"),) if until else ()
    asked = Sent(b"/_bufferproxy/requests/" + id_.encode(), method=b"GET", headers=prefer)
    status = (await load.one(asked)).json
    assert until in ("", status["state"])
    return status


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


def _in_order(arrivals: list[Arrival]) -> list[str]:
    """Each id once, by its first arrival."""
    return list(dict.fromkeys(arrival.id for arrival in sorted(arrivals)))


async def test_a_delayed_request_is_queued_until_its_time_and_not_sent_before(world: World) -> None:
    await asyncio.to_thread(world.start)
    async with Load(world.proxy.url) as load:
        plain = await load.one(Sent(b"/now"))
        told = await load.one(_delayed(b"/later", b"7s"))
        assert told.status == 202
        assert 6.0 < told.json["eta_seconds"] <= 7.0
        status = await _status(load, told.id)
        assert (status["state"], status["attempts"]) == ("queued", 0)
        due = _seconds(status["next_attempt_at"])
        assert due - _seconds(status["accepted_at"]) == pytest.approx(7.0, abs=0.002)
        assert 4.0 < status["eta_seconds"] <= 7.0
        wait_until(lambda: world.sum("backlog_requests", state="delayed") == 1, "it to be seen")
        # It has gone on to the next tier by then, and lies elsewhere.
        wait_until(lambda: time.time() > due - 2.0, "most of its time to be over")
        status = await _status(load, told.id)
        assert (status["state"], _seconds(status["next_attempt_at"])) == ("queued", due)
        assert {arrival.id for arrival in world.recorder.arrivals()} == {plain.id}
        status = await _status(load, told.id, until="delivered")
        assert (status["attempts"], status["next_attempt_at"]) == (1, None)
        begun = _seconds(status["finished_at"])
        assert due <= begun < due + 1.0


async def test_a_moment_can_be_named_in_place_of_a_delay(world: World) -> None:
    await asyncio.to_thread(world.start)
    moment = time.time() + 3.0
    text = datetime.fromtimestamp(moment, UTC).isoformat().encode()
    async with Load(world.proxy.url) as load:
        told = await load.one(Sent(b"/x", headers=((b"Bufferproxy-Not-Before", text),)))
        past = await load.one(Sent(b"/y", headers=((b"Bufferproxy-Not-Before", b"2020-01-01T00:00:00Z"),)))
        await _status(load, past.id, until="delivered")
        assert time.time() < moment, "too late to show anything"
        finished = (await _status(load, told.id, until="delivered"))["finished_at"]
    assert moment <= _seconds(finished) + 0.001 < moment + 1.0
    assert len(world.recorder.arrivals()) == 2


async def test_who_would_have_to_wait_longer_than_it_wants_gets_its_answer_at_once(world: World) -> None:
    await asyncio.to_thread(world.start, safe_methods="wait 5s")
    async with Load(world.proxy.url) as load:
        before = time.monotonic()
        told = await load.one(_delayed(b"/x", b"20s", (b"Prefer", b"wait=10")))
        assert (told.status, told.json["state"]) == (202, "queued")
        refused = await load.one(Sent(b"/y", method=b"GET", headers=((b"Bufferproxy-Delay", b"20s"),)))
        assert (refused.status, refused.json["type"]) == (503, "urn:bufferproxy:problem:wait-too-long")
        assert time.monotonic() - before < 5.0
        held = await load.one(_delayed(b"/z", b"1s", (b"Prefer", b"wait=20")))
        assert held.status == 200


@pytest.mark.parametrize("order", ["none", "key"])
async def test_what_is_delayed_survives_kill_9_and_is_sent_once_at_its_time(world: World, order: str) -> None:
    await asyncio.to_thread(world.start, order=order)
    async with Load(world.proxy.url) as load:
        told = await load.send(_delayed(b"/x/%d" % n, b"12s", key=b"k%d" % n) for n in range(20))
        dues = {one.id: _seconds(one.json["accepted_at"]) + 12.0 for one in told}
        await asyncio.to_thread(wait_until, lambda: world.backlog() == 20, "the worker to hold them")
        for process in world.processes:
            process.kill()
        for process in world.processes:
            await asyncio.to_thread(process.start)
        ready = time.time()
        # On Kafka the group has to notice first that its worker is another one.
        patience = 15.0 if world.place.kafka else 3.0
        for id_, due in dues.items():
            finished = _seconds((await _status(load, id_, until="delivered"))["finished_at"])
            assert due <= finished < max(due, ready) + patience
    assert sorted(arrival.id for arrival in world.recorder.arrivals()) == sorted(dues)


async def test_a_delayed_request_holds_its_key_and_no_other(world: World) -> None:
    await asyncio.to_thread(world.start, order="key")
    async with Load(world.proxy.url, connections=1) as load:
        first = await load.one(_delayed(b"/a", b"4s", key=b"k"))
        second = await load.one(Sent(b"/b", key=b"k"))
        other = await load.one(Sent(b"/c", key=b"other"))
        keyless = await load.one(_delayed(b"/d", b"2s"))
        status = await _status(load, first.id)
        assert (status["state"], status["next_attempt_at"] is None) == ("queued", False)
        await _status(load, second.id, until="delivered")
    arrivals = [arrival.id for arrival in sorted(world.recorder.arrivals())]
    assert arrivals == [other.id, keyless.id, first.id, second.id]


async def test_what_expires_ends_in_time_though_the_service_rests_and_costs_nothing(world: World) -> None:
    await asyncio.to_thread(world.start, concurrency=4)
    world.recorder.mode(status=503, headers="Retry-After: 300\r\n")
    async with Load(world.proxy.url) as load:
        await load.one(Sent(b"/first"))
        await asyncio.to_thread(world.recorder.await_count, 1)
        brief = (b"Bufferproxy-Expires", b"3s")
        told = await load.send(Sent(b"/x/%d" % n, headers=(brief,)) for n in range(3000))
        told += await load.send(_delayed(b"/y/%d" % n, b"60s", brief) for n in range(20))
        stays = await load.one(Sent(b"/stays"))
        for one in (*told[:6], *told[1500:1503], *told[2998:3004], told[-1]):
            status = await _status(load, one.id, until="expired")
            late = _seconds(status["finished_at"]) - _seconds(status["expires_at"])
            assert 0.0 <= late < 2.0
        assert (await _status(load, stays.id))["state"] == "queued"
        wait_until(lambda: world.sum("requests_finished_total", outcome="expired") == 3020, "all to end")
        await asyncio.to_thread(wait_until, lambda: world.backlog() == 2, "the backlog to be seen")
    assert len({arrival.id for arrival in world.recorder.arrivals()}) == 1


async def test_who_waits_for_what_expires_is_told_so(world: World) -> None:
    await asyncio.to_thread(world.start, concurrency=1)
    world.recorder.mode(status=503, headers="Retry-After: 300\r\n")
    async with Load(world.proxy.url) as load:
        await load.one(Sent(b"/first"))
        await asyncio.to_thread(world.recorder.await_count, 1)
        patient = ((b"Bufferproxy-Expires", b"1s"), (b"Prefer", b"wait=20"))
        held = await load.one(Sent(b"/x", headers=patient))
    assert (held.status, held.json["type"]) == (504, "urn:bufferproxy:problem:expired")
    assert held.at - held.began < 4.0


PRIORITIES = (b"low", b"normal", b"high")


def _of(priority: bytes, count: int) -> list[Sent]:
    header = () if priority == b"normal" else ((b"Bufferproxy-Priority", priority),)
    return [Sent(b"/%b/%d" % (priority, n), headers=header, key=b"%d" % n) for n in range(count)]


@pytest.mark.parametrize("order", ["none", "key"])
async def test_what_is_urgent_goes_first_and_nothing_starves_over_a_restart(world: World, order: str) -> None:
    await asyncio.to_thread(
        world.start, order=order, rate="60/s", concurrency=2, priority={"default": "normal"}
    )
    async with Load(world.proxy.url) as load:
        told = [one for priority in PRIORITIES for one in await load.send(_of(priority, 150))]
        priority_of = {one.id: one.sent.target.split(b"/")[1] for one in told}
        await asyncio.to_thread(world.recorder.await_count, world.recorder.count() + 63)
        for process in world.processes:
            process.kill()
        for process in world.processes:
            await asyncio.to_thread(process.start)
        arrivals = await asyncio.to_thread(world.recorder.await_ids, list(priority_of))
        status = await _status(load, told[-1].id, until="delivered")
        assert status["attempts"] == 1
    sent = [priority_of[id_] for id_ in _in_order(arrivals)]
    # Four rounds of 16, 4 and 1, after what was in somebody's hands before anything urgent came.
    since = sent[sent.index(b"high") + 10 :][:84]
    assert since.count(b"high") >= 54
    assert since.count(b"normal") >= 9
    assert since.count(b"low") >= 2


def _memory(pid: int) -> float:
    """Resident MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


async def test_memory_does_not_grow_with_what_is_delayed(
    world: World, times: Callable[[int, int], int]
) -> None:
    await asyncio.to_thread(world.start)
    count = times(20_000, 100_000)
    body = b"x" * 2000
    async with Load(world.proxy.url, connections=64) as load:
        await load.send(_delayed(b"/warm/%d" % n, b"3h") for n in range(2000))
        before = [_memory(process.pid) for process in world.processes]
        told = await load.send(
            Sent(b"/x/%d" % n, body, headers=((b"Bufferproxy-Delay", b"3h"),)) for n in range(count)
        )
        assert all(one.accepted for one in told)
        wait_until(lambda: world.sum("backlog_requests", state="delayed") == count + 2000, "all to be seen")
        after = [_memory(process.pid) for process in world.processes]
        for process in world.processes:
            process.kill()
        for process in world.processes:
            await asyncio.to_thread(process.start)
        soon = await load.one(_delayed(b"/soon", b"1s"))
        await _status(load, soon.id, until="delivered")
        assert (await _status(load, told[count // 2].id))["state"] == "queued"
        restarted = [_memory(process.pid) for process in world.processes]
    print(f"\nMiB before {before}, with {count} delayed {after}, restarted {restarted}", end="")
    for one, with_all, anew in zip(before, after, restarted, strict=True):
        assert with_all < one + 32
        assert anew < one + 32
