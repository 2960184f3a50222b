"""Reads `.results` and `.states` as they grow: wakes who waits, and keeps the index.

It reads without a group, every partition of every service, so any replica can tell of any id. Waiters are
woken from what was just read, before the index has it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from bufferproxy.clock import Clock
from bufferproxy.envelope import change_of
from bufferproxy.errors import EnvelopeError, LogError, LogUnavailable
from bufferproxy.log.contract import Log, LogTail
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Change, Partition, Record
from bufferproxy.results.index import Index, Row
from bufferproxy.results.watchers import Watchers

SWEEP = 10.0
"""Seconds between two sweeps of ends that nobody may ask for any more."""

CATCH_UP = 2.0
"""Seconds between two looks, while it is behind, at what the log has let go of."""


class ResultsView:
    def __init__(
        self, log: Log, index: Index, services: Sequence[tuple[ServiceTopics, float]], clock: Clock
    ) -> None:
        """`services`: topics and `results.keep` in seconds."""
        self._log = log
        self._index = index
        self._services = services
        self._clock = clock
        self._read: dict[Partition, int] = {}
        """Next offset that was not read yet."""
        self._moved = asyncio.Event()
        self._goal: dict[Partition, int] = {}
        self.watchers = Watchers()

    async def start(self) -> LogTail:
        """Where the index left off; what it must read before it can tell of everything is the goal."""
        known = await self._index.offsets()
        for names, _ in self._services:
            for partition, lag in (await self._log.lag(names.group, (names.results, names.states))).items():
                # An index that has read more than there is belongs to a log that was there before this one.
                read = known.get(partition, 0)
                self._read[partition] = max(read, lag.start) if read <= lag.end else lag.start
                self._goal[partition] = lag.end
        return await self._log.tail(self._read)

    async def run(self, tail: LogTail) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(tail))
            group.create_task(self._sweep())
            group.create_task(self._pass_over_what_is_gone())

    async def _follow(self, tail: LogTail) -> None:
        while True:
            try:
                records = await tail.fetch()
            except LogUnavailable:
                await self._clock.sleep(0.5)
                continue
            self._take_in(tail, records)

    def _take_in(self, tail: LogTail, records: Sequence[Record]) -> None:
        rows: list[Row] = []
        ends: dict[Partition, int] = {}
        for record in records:
            ends[record.partition] = tail.after(record)
            if not record.headers and not record.value:
                continue  # a tombstone
            try:
                change = change_of(record)
            except EnvelopeError:
                continue  # of a newer version: it is kept in the log, and only not shown here
            if self.watchers and not _answered_elsewhere(change):
                self.watchers.tell(change)
            reply = None if change.reply_head is None else record.position
            if record.partition.topic.endswith(".states"):
                reply = None  # the body is with the copy in `.results`
            rows.append(
                Row(
                    change.id,
                    change.state,
                    change.at,
                    change.accepted_at,
                    change.attempts,
                    reply,
                    change.error,
                    change.next_attempt_at,
                    change.expires_at,
                )
            )
        for partition, end in ends.items():
            self._read[partition] = max(end, self._read.get(partition, 0))
        self._index.put(rows, ends)
        self._moved.set()

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
            for names, _ in self._services:
                with contextlib.suppress(LogUnavailable):  # the next look tries again
                    lags = await self._log.lag(names.group, (names.results, names.states))
                    for partition, lag in lags.items():
                        self._read[partition] = max(lag.start, self._read.get(partition, 0))

    @property
    def behind(self) -> int:
        """Records that were there at the start and are not read yet: until 0 an unknown id may be known."""
        return sum(max(0, end - self._read.get(partition, 0)) for partition, end in self._goal.items())

    async def find(self, id_: str) -> Row | None:
        return await self._index.find(id_)

    async def find_settled(self, id_: str, names: ServiceTopics) -> Row | None:
        """`find` for an id that is settled: its end was appended before, so it is read up to there first.
        Raises LogUnavailable or TimeoutError (5 s)."""
        ends = await self._log.lag(names.group, (names.results, names.states))
        async with asyncio.timeout(5.0):
            while any(
                max(self._read.get(partition, 0), lag.start) < lag.end for partition, lag in ends.items()
            ):
                self._moved.clear()
                await self._moved.wait()
        return await self._index.find(id_)

    def __repr__(self) -> str:
        return f"<ResultsView behind={self.behind} {self.watchers!r}>"


def _answered_elsewhere(change: Change) -> bool:
    """An end in `.states` whose answer is in `.results`: who waits for the end waits for the answer."""
    return change.state.ended and change.reply_head is None and change.error is None
