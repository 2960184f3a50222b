"""Reads `.results` and `.states` as they grow: wakes who waits, and keeps the index.

It reads without a group, every partition of every service, so any replica can tell of any id. Waiters are
woken from what was just read, before the index has it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from bufferproxy.clock import Clock
from bufferproxy.envelope import change_of
from bufferproxy.errors import EnvelopeError, LogError, LogUnavailable
from bufferproxy.ids import NONCE_TEXT
from bufferproxy.log.contract import Lag, Log, LogTail
from bufferproxy.log.lookups import RecordLookups
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Change, Partition, Position, Record
from bufferproxy.results.index import Ends, Index, Row, settled
from bufferproxy.results.reading import Reading
from bufferproxy.results.watchers import Watchers

SWEEP = 10.0
"""Seconds between two sweeps of ends that nobody may ask for any more."""

APART = 1.0
"""Seconds by which an end may be decided after the moment that its record names as that of the append: that
moment is shared by what is appended together, and clocks differ."""

_PARTITION = itemgetter(0)
"""Of a record."""

CATCH_UP = 2.0
"""Seconds between two looks, while it is behind, at what the log has let go of."""


class Finding(NamedTuple):
    """What is known of an id. `end`: the record that says it, where `row` is of one in `.results`."""

    row: Row
    end: Change | None = None


class ResultsView:
    def __init__(
        self, log: Log, index: Index, services: Sequence[tuple[ServiceTopics, float]], clock: Clock
    ) -> None:
        """`services`: topics and `results.keep` in seconds."""
        self._lookups = RecordLookups(log)
        self._index = index
        self._services = services
        self._clock = clock
        followed = [topic for names, _ in services for topic in (names.results, names.states)]
        self._reading = Reading(log, followed, clock, alone=True)
        self._goal: dict[Partition, int] = {}
        self.watchers = Watchers()

    async def start(self) -> LogTail:
        """Where the index left off; what it must read before it can tell of everything is the goal."""
        tail, self._goal = await self._reading.begin(await self._index.offsets())
        return tail

    async def run(self, tail: LogTail) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(tail))
            group.create_task(self._sweep())
            group.create_task(self._pass_over_what_is_gone())

    async def _follow(self, tail: LogTail) -> None:
        self.watchers.began = tail.hurry
        async for records in self._reading.batches(tail):
            self._take_in(tail, records)
            if not self.watchers:
                tail.rest()

    def _take_in(self, tail: LogTail, records: Sequence[Record]) -> None:
        rows: list[Row] = []
        ends: list[Ends] = []
        reached: dict[Partition, int] = {}
        for partition, group in groupby(records, _PARTITION):
            run = list(group)
            reached[partition] = tail.after(run[-1])
            if partition.topic.endswith(".states"):
                changes = [change for record in run if (change := _change_of(record)) is not None]
                rows.extend([_row_of(change, None) for change in changes])
                self._tell(changes)
            else:
                ends.append(_ends_of(partition, run))
                if self.watchers:
                    self._tell_of(run)
        self._index.put(rows, ends, reached)
        self._reading.reach(reached)

    def _tell_of(self, records: Sequence[Record]) -> None:
        """Decodes only what somebody waits for."""
        watched = self.watchers.watched
        found = [record for record in records if (record.key or b"")[NONCE_TEXT] in watched]
        self._tell([change for record in found if (change := _change_of(record)) is not None])

    def _tell(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if not _answered_elsewhere(change):
                self.watchers.tell(change)

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(SWEEP)
            longest = max(keep for _, keep in self._services)
            with contextlib.suppress(LogError):  # a full disk: the next sweep tries again
                await self._index.forget(int((self._clock.wall() - longest) * 1000))

    async def _pass_over_what_is_gone(self) -> None:
        """What is trimmed before it is read will never come, and perhaps nothing after it for long."""
        while self.behind:
            await self._clock.sleep(CATCH_UP)
            with contextlib.suppress(LogUnavailable):  # the next look tries again
                lags = await self._reading.lags()
                self._reading.reach({partition: lag.start for partition, lag in lags.items()})

    @property
    def behind(self) -> int:
        """Records that were there at the start and are not read yet: until 0 an unknown id may be known."""
        read = self._reading.next
        return sum(max(0, end - read.get(partition, 0)) for partition, end in self._goal.items())

    async def find(self, id_: str) -> Finding | None:
        """Raises LogUnavailable or LogUnusable."""
        row, ends = await self._index.find(id_)
        for position in ends:
            change = await self._change_at(position, id_)
            if change is not None:
                end = _row_of(change, position)
                holds = settled(row, end)
                return Finding(holds, change if holds is end else None)
        return None if row is None else Finding(row)

    async def _change_at(self, position: Position, id_: str) -> Change | None:
        """None: it is not kept any more, or there is something else, or what cannot be understood."""
        if position.partition not in self._reading.next:
            return None  # of a log that was there before this one
        record = await self._lookups.record_at(position)
        return None if record is None or record.key != id_.encode() else _change_of(record)

    def has_read(self, written: Mapping[Partition, Lag]) -> bool:
        """All that these tell of: an id that `find` does not know is not among it."""
        return self._reading.reached(written)

    async def find_settled(self, id_: str, written: Mapping[Partition, Lag]) -> Finding | None:
        """`find` for an id whose end is in what these tell of: it is read up to there first. Raises
        LogUnavailable, LogUnusable or TimeoutError."""
        await self._reading.up_to(written)
        return await self.find(id_)

    def __repr__(self) -> str:
        return f"<ResultsView behind={self.behind} {self.watchers!r}>"


def _answered_elsewhere(change: Change) -> bool:
    """An end in `.states` whose answer is in `.results`: who waits for the end waits for the answer."""
    return change.state.ended and change.reply_head is None and change.error is None


def _change_of(record: Record) -> Change | None:
    if not record.headers and not record.value:
        return None  # a tombstone
    try:
        return change_of(record)
    except EnvelopeError:
        return None  # of a newer version: it is kept in the log, and only not shown here


def _ends_of(partition: Partition, records: Sequence[Record]) -> Ends:
    """Not decoded: what they say is read when somebody asks."""
    keys = [record.key or b"" for record in records]
    offsets = [record.offset for record in records]
    newest = max([record.appended_at for record in records]) + APART
    return Ends(partition, keys, offsets, int(newest * 1000))


def _row_of(change: Change, position: Position | None) -> Row:
    """`position`: of a record of `.results`; in `.states` there is never an answer."""
    return Row(
        change.id,
        change.state,
        change.at,
        change.accepted_at,
        change.attempts,
        None if change.reply_head is None else position,
        change.error,
        change.next_attempt_at,
        change.expires_at,
    )
