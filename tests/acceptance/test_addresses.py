"""A name with several addresses, or one that moves, as the system's resolver tells it to a real process.

Each process has a hosts file of its own, mounted over /etc/hosts where only it sees it.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING

import pytest

from bufferproxy.deliver.names import GREATEST_AGE_SECONDS
from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.ports import free_port
from bufferproxy.testing.processes import RecorderProcess, wait_until
from bufferproxy.testing.promises import duplicates, nothing_lost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bufferproxy.testing.promises import Arrival
    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance

NAME = "auth.example"
ALONE = ("unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"')
"""Then the file, and the command."""


class Hosts:
    """Written in place, in one piece: nobody finds half a file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.write_bytes(b"#" * 255 + b"\n")

    def set(self, *addresses: str) -> None:
        lines = "".join(f"{address} {NAME}\n" for address in addresses).encode()
        with self.file.open("r+b", buffering=0) as file:
            file.write(lines + b"#" * (255 - len(lines)) + b"\n")


@pytest.fixture
def hosts(tmp_path: Path, sqlite_world: World) -> Hosts:
    hosts = Hosts(tmp_path / "hosts")
    tried = subprocess.run([*ALONE, str(hosts.file), "true"], check=False, capture_output=True)
    if tried.returncode:
        pytest.skip(f"no mounts of one's own here: {tried.stderr.decode().strip()}")
    sqlite_world.prefix = (*ALONE, str(hosts.file))
    return hosts


class Replicas:
    """Recorders on addresses of their own, and one port."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.port = free_port()
        self._recorders = [
            stack.enter_context(RecorderProcess(folder, f"recorder-{n}", host=f"127.0.0.{n}", port=self.port))
            for n in (2, 3, 4)
        ]

    @property
    def url(self) -> str:
        return f"http://{NAME}:{self.port}"

    def __getitem__(self, number: int) -> RecorderProcess:
        return self._recorders[number]

    def arrivals(self) -> list[Arrival]:
        return [arrival for recorder in self._recorders for arrival in recorder.arrivals()]

    def counts(self) -> list[int]:
        return [recorder.count() for recorder in self._recorders]

    def await_ids(self, ids: list[str]) -> None:
        wait_until(lambda: sum(self.counts()) >= len(ids), f"{len(ids)} arrivals", every=0.2)
        assert nothing_lost(ids, self.arrivals()) == []

    def forget(self) -> None:
        for recorder in self._recorders:
            recorder.forget()


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[Replicas]:
    with ExitStack() as stack:
        yield Replicas(tmp_path, stack)


async def test_a_name_that_moves_under_traffic_is_followed_and_nothing_is_lost_or_sent_twice(
    sqlite_world: World, hosts: Hosts, replicas: Replicas
) -> None:
    hosts.set(replicas[0].host)
    await asyncio.to_thread(sqlite_world.start, to=replicas.url, concurrency=8)
    async with Load(sqlite_world.proxy.url, connections=8) as load:
        numbers = count()
        sending = asyncio.create_task(load.send((Sent(b"/%d" % n) for n in numbers), rate=200))
        await asyncio.to_thread(replicas[0].await_count, 400)
        hosts.set(replicas[1].host)
        moved = time.time()
        await asyncio.to_thread(replicas[1].await_count, 600)
        sending.cancel()
        await asyncio.wait([sending])
        await asyncio.to_thread(sqlite_world.await_settled)
        accepted = [told.id for told in load.told if told.accepted]
    old, new = replicas[0].arrivals(), replicas[1].arrivals()
    assert nothing_lost(accepted, [*old, *new]) == []
    assert duplicates([*old, *new]) == 0
    assert {arrival.attempt for arrival in (*old, *new)} == {1}
    last, first = max(arrival.at for arrival in old), min(arrival.at for arrival in new)
    print(
        f"\nfollowed after {first - moved:.1f} s, the last to the old address after {last - moved:.1f} s",
        end="",
    )
    assert last - moved < GREATEST_AGE_SECONDS
    assert last - first < 1.0


async def test_three_addresses_have_a_third_each_and_a_dead_one_costs_the_others_nothing(
    sqlite_world: World, hosts: Hosts, replicas: Replicas
) -> None:
    hosts.set(*(replicas[n].host for n in range(3)))
    await asyncio.to_thread(sqlite_world.start, to=replicas.url, rate="300/s", concurrency=12)
    async with Load(sqlite_world.proxy.url, connections=8) as load:
        whole = await _spike(load, replicas, 900)
        assert all(270 <= share <= 330 for share in replicas.counts()), replicas.counts()

        replicas[1].down()
        without = await _spike(load, replicas, 900)
        shares = replicas.counts()
        assert shares[1] == 0
        assert all(405 <= share <= 495 for share in (shares[0], shares[2])), shares
        attempts = Counter(arrival.attempt for arrival in replicas.arrivals())
        assert attempts == {1: 900}, "a connect that is refused is no attempt"
        print(f"\n900 took {whole:.2f} s over three, {without:.2f} s over two", end="")
        assert without < 1.1 * whole

        replicas[1].up()
        sending = asyncio.create_task(load.send((Sent(b"/back/%d" % n) for n in count()), rate=100))
        await asyncio.to_thread(replicas[1].await_count, 1)
        sending.cancel()
        await asyncio.wait([sending])
        await asyncio.to_thread(sqlite_world.await_settled)
        await _spike(load, replicas, 900)
        assert all(270 <= share <= 330 for share in replicas.counts()), replicas.counts()


async def _spike(load: Load, replicas: Replicas, total: int) -> float:
    """Seconds from the first arrival to the last, at the rate."""
    await asyncio.to_thread(replicas.forget)
    told = await load.send(Sent(b"/%d" % n) for n in range(total))
    await asyncio.to_thread(replicas.await_ids, [one.id for one in told if one.accepted])
    stamps = [arrival.at for arrival in replicas.arrivals()]
    assert len(stamps) == total, "each once"
    return max(stamps) - min(stamps)
