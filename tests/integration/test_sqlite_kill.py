"""A process that appends, commits and trims is killed at any moment: what it was told is durable is there."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import pytest

from bufferproxy.log.contract import Log
from bufferproxy.log.sqlite import open_sqlite
from bufferproxy.records import Partition, Position
from bufferproxy.testing.log_world import Holding

TOPIC = "bufferproxy.auth.requests"
GROUP = "bufferproxy.auth"

CHILD = """
import asyncio, os, pathlib, sys
from bufferproxy.log.contract import Keep, Topic
from bufferproxy.log.sqlite import open_sqlite
from bufferproxy.records import Entry, Partition
from bufferproxy.testing.log_world import Holding

async def main(path):
    log = await open_sqlite(path)
    keep = Keep(committed_by="bufferproxy.auth")
    await log.ensure([Topic("bufferproxy.auth.requests", 3, keep)], create=True)
    lags = await log.lag("nobody", ["bufferproxy.auth.requests"])
    say = lambda *words: os.write(1, (" ".join(map(str, words)) + "\\n").encode())

    async def append(partition, number):
        while True:
            entry = Entry(None, b"%d" % number, (("pad", bytes(number % 5000)),))
            position = await log.append(partition, entry)
            say("stored", partition.number, position.offset, number)
            number += 30

    async def drain():
        holding = Holding()
        reader = await log.reader("bufferproxy.auth", ["bufferproxy.auth.requests"], holding)
        while True:
            last = {record.partition: record for record in await reader.fetch()}
            await reader.commit(
                {p: (holding.leases[p].epoch, reader.after(record)) for p, record in last.items()}
            )
            for p, record in last.items():
                say("committed", p.number, reader.after(record), 0)

    async with asyncio.TaskGroup() as tasks:
        for partition, lag in lags.items():
            for first in range(30):
                tasks.create_task(append(partition, first))
        tasks.create_task(drain())

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


async def run_and_kill(path: Path, lines: int) -> list[tuple[str, int, int, int]]:
    """What the child said before it was killed; the kill comes after so many lines."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    said = [await child.stdout.readline() for _ in range(lines)]
    assert all(said), "it ended by itself"
    child.kill()
    said += (await child.stdout.read()).splitlines()
    await child.wait()
    heard = [line.split() for line in said]
    return [(word.decode(), int(a), int(b), int(c)) for word, a, b, c in heard]


async def check(log: Log, told: list[tuple[str, int, int, int]]) -> None:
    lags = await log.lag(GROUP, [TOPIC])
    for number in range(3):
        partition = Partition(TOPIC, number)
        kept = {r.offset: r.value for r in await log.read(Position(partition, 0), 1_000_000)}
        for word, where, offset, value in told:
            if where == number and word == "stored" and offset >= lags[partition].start:
                assert kept[offset] == b"%d" % value
            if where == number and word == "committed":
                assert lags[partition].committed >= offset
        assert lags[partition].start <= lags[partition].committed <= lags[partition].end
        assert sorted(kept) == list(range(lags[partition].start, lags[partition].end))


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_was_acknowledged_survives_a_kill(tmp_path: Path, seed: int) -> None:
    lines = random.Random(seed).randrange(1, 3000)
    told: list[tuple[str, int, int, int]] = []
    for _ in range(2):  # the second life begins with what the first one left
        told += await run_and_kill(tmp_path / "log.db", lines)
        assert len(told) >= lines
        log = await open_sqlite(tmp_path / "log.db")
        await check(log, told)
        reader = await log.reader(GROUP, [TOPIC], Holding())
        await reader.close()
        await log.close()
