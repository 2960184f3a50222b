"""P5: what is too much is refused before it is stored, and a stop loses nothing that was accepted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import urllib.error
from itertools import count, takewhile
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.processes import Bufferproxy, get, wait_until
from bufferproxy.testing.promises import duplicates, nothing_lost
from bufferproxy.testing.world import World, sqlite_place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bufferproxy.testing.load import Told

pytestmark = pytest.mark.acceptance


def _problem(told: Told) -> str:
    assert told.header(b"content-type") == b"application/problem+json"
    return str(told.json["type"]).removeprefix("urn:bufferproxy:problem:")


async def test_a_full_backlog_refuses_exactly_what_is_too_much(sqlite_world: World) -> None:
    world = await asyncio.to_thread(sqlite_world.start, backlog={"requests": 100})
    world.recorder.down()
    async with Load(world.proxy.url, connections=50) as load:
        told = await load.send(Sent(b"/x/%d" % n) for n in range(500))
        refused = [one for one in told if not one.accepted]
        assert len(refused) == 400
        assert {(one.status, _problem(one)) for one in refused} == {(503, "backlog-full")}
        assert all(int(one.header(b"retry-after")) >= 1 for one in refused)
        assert world.sum("requests_refused_total", reason="backlog-full") == 400
        world.recorder.up()
        ids = [one.id for one in told if one.accepted]
        assert len(await asyncio.to_thread(world.recorder.await_ids, ids)) == 100
        await asyncio.to_thread(world.await_settled)
        assert (await load.one(Sent(b"/again"))).accepted


async def test_a_full_backlog_refuses_on_kafka_within_what_is_being_accepted(world: World) -> None:
    await asyncio.to_thread(world.start, backlog={"requests": 1000})
    world.recorder.down()
    async with Load(world.proxy.url, connections=20) as load:
        told = await load.send((Sent(b"/x/%d" % n) for n in range(2000)), rate=1000)
        refused = [one for one in told if not one.accepted]
        assert {(one.status, _problem(one)) for one in refused} == {(503, "backlog-full")}
        assert 1000 <= load.accepted <= 1000 + 500


async def test_a_wait_that_is_foreseen_to_be_too_long_is_refused(world: World) -> None:
    await asyncio.to_thread(world.start, rate="10/s", backlog={"wait": "5s"})
    world.recorder.down()
    async with Load(world.proxy.url, connections=4) as load:
        told = await load.send((Sent(b"/x/%d" % n) for n in range(150)), rate=100)
        refused = [one for one in told if not one.accepted]
        assert {(one.status, _problem(one)) for one in refused} == {(503, "wait-too-long")}
        assert 50 <= load.accepted <= 110
        # A safe request with no preference is not even stored when it would wait longer than it may.
        # (30 s: within. A wait of its own of one second is not.)
        late = await load.one(Sent(b"/get", method=b"GET", headers=((b"Prefer", b"wait=1"),)))
        assert late.status in (202, 503)


async def test_a_body_over_the_limit_is_refused_and_the_limit_itself_is_not(world: World) -> None:
    await asyncio.to_thread(world.start, body="100KiB")
    async with Load(world.proxy.url) as load:
        assert (await load.one(Sent(b"/just", b"x" * 102_400))).accepted
        over = await load.one(Sent(b"/over", b"x" * 102_401))
        assert (over.status, _problem(over)) == (413, "body-too-large")
        chunks = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
        raw = b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        over = await load.one(Sent(b"/c", chunks * 2 + b"0\r\n\r\n", raw=raw))
        assert (over.status, _problem(over)) == (413, "body-too-large")


async def test_sigterm_under_load_ends_in_order_and_loses_nothing(world: World) -> None:
    """Callers who are held get their 202, the others an answer or a closed connection: never a false 202."""
    await asyncio.to_thread(world.start, rate="200/s")
    world.recorder.mode(delay=0.02)
    stop = False

    def requests() -> Iterator[Sent]:
        for n in takewhile(lambda _: not stop, count()):
            yield Sent(b"/n/%d" % n)

    async with Load(world.proxy.url, connections=50) as load:
        calling = asyncio.create_task(load.send(requests()))
        await load.accepts(1000)
        holding = [
            asyncio.create_task(load.one(Sent(b"/held/%d" % n, headers=((b"Prefer", b"wait=60"),))))
            for n in range(20)
        ]
        await asyncio.to_thread(wait_until, lambda: world.sum("callers_held") == 20, "20 held callers")
        codes = [await asyncio.to_thread(process.terminate) for process in world.processes]
        stop = True
        told = await calling
        held = await asyncio.gather(*holding)
    assert codes == [0] * len(codes)
    assert [one.status for one in held] == [202] * 20
    assert {_problem(one) for one in told if one.status not in (0, 202)} <= {"draining", "wait-too-long"}

    for process in world.processes:
        await asyncio.to_thread(process.start)
    ids = [one.id for one in (*told, *held) if one.accepted]
    world.recorder.mode(delay=0.0)
    arrivals = await asyncio.to_thread(world.recorder.await_ids, ids, 120.0)
    assert nothing_lost(ids, arrivals) == []
    assert duplicates(arrivals) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 24 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_refuses_stays_up_loses_nothing_and_recovers(
    tmp_path: Path, small_disk: Path
) -> None:
    with World(tmp_path, sqlite_place(small_disk / "log.db")) as world:
        world.settings["storage"] = {"reserve": "4MiB"}
        await asyncio.to_thread(world.start)
        world.recorder.down()
        async with Load(world.proxy.url, connections=16) as load:
            told = await load.send(Sent(b"/x/%d" % n, os.urandom(16_384)) for n in range(3000))
            refused = [one for one in told if not one.accepted]
            assert {(one.status, _problem(one)) for one in refused} == {(503, "storage-full")}
            assert all(int(one.header(b"retry-after")) >= 1 for one in refused)
            assert world.proxy.running
            ids = [one.id for one in told if one.accepted]
            assert ids

            world.recorder.up()
            arrivals = await asyncio.to_thread(world.recorder.await_ids, ids)
            assert nothing_lost(ids, arrivals) == []
            assert duplicates(arrivals) == 0

            before = load.accepted
            until_accepted = takewhile(lambda _: load.accepted == before, range(150))
            await load.send((Sent(b"/again/%d" % n, os.urandom(16_384)) for n in until_accepted), rate=5)
            assert load.accepted > before
            assert world.proxy.running


async def test_a_reserve_larger_than_the_disk_is_said_at_the_start_and_by_readiness_and_to_callers(
    tmp_path: Path,
) -> None:
    settings = {
        "log": f"sqlite:{tmp_path}/log.db",
        "storage": {"reserve": "100000000GiB"},
        "services": {"orders": {"to": "http://127.0.0.1:9"}},
    }
    proxy = Bufferproxy("run", json.dumps(settings), tmp_path)
    proxy.launch()
    try:
        output = proxy.output.read_text
        await asyncio.to_thread(wait_until, lambda: '"event": "ready"' in output(), "it to listen")
        assert "storage.reserve: 100000000GiB is more than all of the disk" in output()
        assert not proxy.ready
        with pytest.raises(urllib.error.HTTPError) as unready:
            get(f"{proxy.admin}/readyz")
        (reason,) = json.load(unready.value)["reasons"]
        assert reason.startswith("storage: storage.reserve keeps 100000000GiB free")
        assert " MiB of " in reason
        async with Load(proxy.url, connections=1) as load:
            told = await load.one(Sent(b"/x"))
        assert (told.status, _problem(told)) == (503, "storage-full")
        assert "storage.reserve keeps 100000000GiB free" in told.json["detail"]
    finally:
        assert proxy.terminate() == 0


async def test_a_disk_that_is_full_to_the_last_byte_ends_nothing(tmp_path: Path, small_disk: Path) -> None:
    """Somebody else fills it: no reserve is left even for what settles."""
    with World(tmp_path, sqlite_place(small_disk / "log.db")) as world:
        world.settings["storage"] = {"reserve": "1MiB"}
        await asyncio.to_thread(world.start)
        async with Load(world.proxy.url, connections=4) as load:
            before = await load.send(Sent(b"/before/%d" % n, os.urandom(1024)) for n in range(200))
            filler = small_disk / "filler"
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(b"x" * 4096):
                    pass
            told = await load.send(Sent(b"/during/%d" % n, os.urandom(1024)) for n in range(200))
            assert {(one.status, _problem(one)) for one in told if not one.accepted} == {
                (503, "storage-full")
            }
            assert world.proxy.running
            filler.unlink()
            ids = [one.id for one in (*before, *told) if one.accepted]
            arrivals = await asyncio.to_thread(world.recorder.await_ids, ids)
            assert nothing_lost(ids, arrivals) == []
            await asyncio.to_thread(world.await_settled)
            assert world.proxy.running
            assert world.proxy.terminate() == 0


async def test_sigint_is_as_good_as_sigterm(sqlite_world: World) -> None:
    world = await asyncio.to_thread(sqlite_world.start)
    world.proxy.signal(signal.SIGINT)
    await asyncio.to_thread(wait_until, lambda: not world.proxy.running, "the end")
    assert world.proxy.code == 0
