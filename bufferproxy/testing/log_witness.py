"""What a log must hold after a crash, from what `busy_log` said before it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from bufferproxy.database import Connection
from bufferproxy.errors import BufferproxyError
from bufferproxy.log.contract import Lag
from bufferproxy.log.sqlite import SqliteLog, open_sqlite
from bufferproxy.records import Position, Record
from bufferproxy.testing.busy_log import (
    GROUP,
    PLACES,
    REQUESTS,
    STATES,
    entry_of,
    number_of,
    place_of,
    task_of,
)
from bufferproxy.testing.log_world import Holding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

MANY = 1_000_000
"""Records: all that a partition has."""
NOTHING = Lag(0, 0, 0, 0, 0)
LATER = 9
"""No life before the crash has this number."""
COMPACT = PLACES.index((STATES.name, 0))

Commit = tuple[int, str]
"""The next offset, and marks."""


class Witness:
    """What was begun, and what was told to be durable."""

    def __init__(self, said: Iterable[str]) -> None:
        self.begun: set[int] = set()
        self.stored: dict[int, dict[int, int]] = defaultdict(dict)
        """Place -> offset -> number."""
        self.commits: dict[int, list[Commit]] = defaultdict(lambda: [(0, "")])
        """By place: what may be found, the first is the last of which it was told that it is durable."""
        for line in said:
            word, *rest = line.split(" ")
            self._hear(word, rest)

    def _hear(self, word: str, rest: Sequence[str]) -> None:
        match word, rest:
            case "appending", [number]:
                self.begun.add(int(number))
            case "stored", [number, offset]:
                self.stored[place_of(int(number))][int(offset)] = int(number)
            case "committing", [place, offset, marks]:
                self.commits[int(place)].append((int(offset), marks))
            case "committed", [place, _, _]:
                del self.commits[int(place)][:-1]
            case _:
                raise ValueError(f"it said {word} {rest}")

    def of_records(self, place: int, lag: Lag, records: Sequence[Record]) -> Iterator[str]:
        """About what is found in a partition."""
        numbers = [int(dict(record.headers)["number"]) for record in records]
        for number, record in zip(numbers, records, strict=True):
            if number not in self.begun or place_of(number) != place:
                yield f"{number}, at {record.offset}, was never appended there"
            if entry_of(number) != (record.key, record.value, record.headers):
                yield f"{number}, at {record.offset}, is not what was appended"
        for task in {task_of(number) for number in numbers}:
            of_task = [number for number in numbers if task_of(number) == task]
            if of_task != sorted(set(of_task)):
                yield f"{task} appended one after the other, and is found as {of_task}"
        offsets = [record.offset for record in records]
        if place == COMPACT:
            yield from self._of_keys(records, numbers)
        else:
            if offsets != list(range(lag.start, lag.end)):
                yield f"records from {lag.start} to {lag.end} are {offsets}"
            yield from self._of_offsets(place, lag, dict(zip(offsets, numbers, strict=True)))

    def _of_offsets(self, place: int, lag: Lag, found: Mapping[int, int]) -> Iterator[str]:
        for offset, number in self.stored[place].items():
            if offset >= lag.start and found.get(offset) != number:
                yield f"{number} was stored at {offset}, where {found.get(offset)} is: lost"
        if not lag.start <= lag.committed <= lag.end:
            yield f"start, committed and end are {lag}"

    def _of_keys(self, records: Sequence[Record], numbers: Sequence[int]) -> Iterator[str]:
        newest = {record.key: record.offset for record in records}
        if len(newest) < len(records):
            yield f"a key occurs twice: {[(record.key, record.offset) for record in records]}"
        found = {record.offset: number for record, number in zip(records, numbers, strict=True)}
        for offset, number in self.stored[COMPACT].items():
            key = entry_of(number).key
            if newest.get(key, -1) < offset or (newest[key] == offset and found[offset] != number):
                yield f"{number} was stored at {offset} for {key!r}, whose newest is {newest.get(key)}: lost"

    def of_commit(self, place: int, commit: Commit) -> Iterator[str]:
        if commit not in self.commits[place]:
            yield f"{commit} is committed, and should be one of {self.commits[place]}: lost"


async def complaints(path: Path, said: Iterable[str]) -> list[str]:
    """What is wrong with the log at `path`. It is opened, read, appended to and closed."""
    faults: list[BaseException] = []
    found: list[str] = []
    try:
        log = await open_sqlite(path, fatal=faults.append)
        try:
            found = await _look_through(log, Witness(said))
        finally:
            await log.close()
    except BufferproxyError as error:
        faults.append(error)
    return [*found, *(f"{type(fault).__name__}: {fault}" for fault in faults)]


async def _look_through(log: SqliteLog, witness: Witness) -> list[str]:
    found: list[str] = []
    lags = await log.lag(GROUP, [REQUESTS.name, STATES.name])
    for place, partition in enumerate(PLACES):
        lag = lags.get(partition, NOTHING)
        records = await log.read(Position(partition, 0), MANY) if partition in lags else []
        found += witness.of_records(place, lag, records)
    await log.ensure([REQUESTS, STATES], create=True)
    holding = Holding()
    reader = await log.reader(GROUP, [REQUESTS.name], holding)
    for partition, lease in holding.leases.items():
        found += witness.of_commit(PLACES.index(partition), (lease.committed, lease.marks))
    await reader.close()
    for place, partition in enumerate(PLACES):
        found += await _append_again(log, place, lags.get(partition, NOTHING).end)
    damage = await log.database.read(_check_of_sqlite)
    return found + damage


async def _append_again(log: SqliteLog, place: int, end: int) -> list[str]:
    entry = entry_of(number_of(LATER, place, 0, 0))
    position = await log.append(PLACES[place], entry)
    (record,) = await log.read(position, 1)
    if position.offset == end and record[2:5] == entry:
        return []
    return [f"a new record went to {position}, the end was {end}, and {record} is read there"]


def _check_of_sqlite(connection: Connection) -> list[str]:
    rows = connection.execute("PRAGMA integrity_check").fetchall()
    return [] if rows == [("ok",)] else [f"SQLite finds damage: {rows}"]
