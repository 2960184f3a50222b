"""A process that keeps a SQLite log busy, and says what it does and what it was told.

    python -m bufferproxy.testing.busy_log FILE LIFE [MUTANT]

`LIFE` numbers the processes that follow each other on one file. Appends of many sizes go to two partitions of
requests and to one that is compact; a reader commits, with marks; what was committed is trimmed, from time to
time all of it. Then the log is closed. A word and numbers on each line:

    appending NUMBER            stored NUMBER OFFSET
    committing PLACE NEXT MARKS       committed PLACE NEXT MARKS

`NUMBER` tells what was appended and where (`entry_of`, `place_of`), `PLACE` is an index of PLACES.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
import sys
from itertools import product
from pathlib import Path

from bufferproxy.database import writer
from bufferproxy.log.contract import Keep, Log, Topic
from bufferproxy.log.marks import Marks, encode
from bufferproxy.log.sqlite import SqliteLog, open_sqlite, trim
from bufferproxy.records import Entry, Partition
from bufferproxy.testing import mutants
from bufferproxy.testing.log_world import Holding

GROUP = "bufferproxy.auth"
REQUESTS = Topic("bufferproxy.auth.requests", 2, Keep(committed_by=GROUP))
STATES = Topic("bufferproxy.auth.states", 1, Keep(compact=True))
PLACES = (Partition(REQUESTS.name, 0), Partition(REQUESTS.name, 1), Partition(STATES.name, 0))

SIZES = (0, 10, 10, 300, 300, 3000, 9000, 40_000)
"""Bytes of values: some to a page, and some over several."""
KEYS = 5
ROUNDS, TASKS, EACH = 3, 4, 10
"""In each round, for each place, so many append at once, and each of them so many."""
CHECKPOINT = 128 << 10
"""Instead of 8 MiB, so that a short trace has many."""


def number_of(life: int, place: int, task: int, nth: int) -> int:
    return ((life * len(PLACES) + place) * TASKS + task) * 1000 + nth


def place_of(number: int) -> int:
    return number // 1000 // TASKS % len(PLACES)


def task_of(number: int) -> int:
    """Who appended it, one after the other."""
    return number // 1000


@functools.cache
def entry_of(number: int) -> Entry:
    chance = random.Random(number)
    keyed = place_of(number) == len(PLACES) - 1 or number % 3
    key = b"key %d" % chance.randrange(KEYS) if keyed else None
    headers = (("number", b"%d" % number), *([("more", chance.randbytes(100))] if number % 2 else ()))
    return Entry(key, chance.randbytes(chance.choice(SIZES)), headers)


def say(*words: object) -> None:
    """In one system call."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def append(log: Log, place: int, numbers: range) -> None:
    for number in numbers:
        say("appending", number)
        position = await log.append(PLACES[place], entry_of(number))
        say("stored", number, position.offset)


async def settle(log: Log) -> None:
    """Reads and commits for ever."""
    holding = Holding()
    reader = await log.reader(GROUP, [REQUESTS.name], holding)
    while True:
        last = {record.partition: reader.after(record) for record in await reader.fetch()}
        for partition, offset in last.items():
            marks = encode(Marks(1, offset + 3, ((offset + 1, offset + 2),)), offset)
            step = PLACES.index(partition), offset, marks
            say("committing", *step)
            await reader.commit({partition: (holding.leases[partition].epoch, offset)}, {partition: marks})
            say("committed", *step)


async def work(log: SqliteLog, life: int) -> None:
    await log.ensure([REQUESTS, STATES], create=True)
    settling = asyncio.create_task(settle(log))
    for begin in range(0, ROUNDS * EACH, EACH):
        async with asyncio.TaskGroup() as tasks:
            for place, task in product(range(len(PLACES)), range(TASKS)):
                first = number_of(life, place, task, begin)
                tasks.create_task(append(log, place, range(first, first + EACH)))
        await log.trim()
    settling.cancel()
    await asyncio.wait([settling])


async def main(path: Path, life: int) -> None:
    log = await open_sqlite(path)
    await work(log, life)
    await log.close()


if __name__ == "__main__":
    if len(sys.argv) > 3:
        mutants.apply(sys.argv[3])
    writer.CHECKPOINT = CHECKPOINT
    trim.SPARE = 0  # so that the file is also cut
    trim.WORTH_IT = 20
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
