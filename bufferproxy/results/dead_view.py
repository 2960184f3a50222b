"""Reads `.dead` as it grows and keeps the index of dead letters.

Without a group, every partition of every service: any replica can list them, and any worker can tell whether
a redriven request was settled before. Reading goes on when the index has taken what was read, so a slow disk
holds no letters in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence

from bufferproxy.clock import Clock
from bufferproxy.envelope import letter_of
from bufferproxy.errors import EnvelopeError, LogError, LogUnavailable, StorageFull
from bufferproxy.log.contract import Log, LogTail
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Letter, Mark, Record
from bufferproxy.results.dead_index import DeadIndex, Reopened
from bufferproxy.results.reading import Reading
from bufferproxy.results.selection import ALL, Selection

RECOUNT = 0.5
"""Seconds between two counts of what was counted and has changed since."""
SWEEP = 60.0
"""Seconds between two sweeps of letters that the log has let go of."""


class DeadView:
    def __init__(
        self, log: Log, index: DeadIndex, services: Mapping[str, tuple[ServiceTopics, float]], clock: Clock
    ) -> None:
        """`services`: name -> topics, and `dead.keep` in seconds."""
        self._log = log
        self._index = index
        self._services = services
        self._clock = clock
        self._service_of = {names.dead: name for name, (names, _) in services.items()}
        followed = [names.dead for names, _ in services.values()]
        self._reading = Reading(log, followed, clock)
        self._changed: set[str] = set(services)
        self._counts = dict.fromkeys(services, 0)

    async def start(self) -> LogTail:
        """Goes on where the index left off."""
        tail, _ = await self._reading.begin(await self._index.offsets())
        return tail

    async def run(self, tail: LogTail) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(tail))
            group.create_task(self._recount())
            group.create_task(self._sweep())

    async def _follow(self, tail: LogTail) -> None:
        async for records in self._reading.batches(tail):
            await self._take_in(tail, records)

    async def _take_in(self, tail: LogTail, records: Sequence[Record]) -> None:
        told: list[tuple[str, Letter | Mark]] = []
        for record in records:
            with contextlib.suppress(EnvelopeError):  # of a newer version: kept in the log, only not shown
                news = letter_of(record)
                if news is not None:
                    told.append((self._service_of[record.partition.topic], news))
        ends = {record.partition: tail.after(record) for record in records}
        while True:
            try:
                await self._index.put(told, ends)
                break
            except (StorageFull, LogUnavailable):  # full, or locked by another program
                await self._clock.sleep(1.0)
        self._changed.update(service for service, _ in told)
        self._reading.reach(ends)

    async def _recount(self) -> None:
        while True:
            changed, self._changed = self._changed, set()
            for service in changed:
                with contextlib.suppress(LogError):
                    self._counts[service] = await self._index.count(service, ALL)
            await self._clock.sleep(RECOUNT)

    async def _sweep(self) -> None:
        while True:
            for service in self._services:
                await self._forget(service)
            self._changed.update(self._services)
            await self._clock.sleep(SWEEP)

    async def _forget(self, service: str) -> None:
        """What is older than `dead.keep`. Cheap when nothing is: who lists need not wait for a sweep."""
        _, keep = self._services[service]
        with contextlib.suppress(LogError):  # a full disk: the next sweep tries again
            await self._index.forget(service, int((self._clock.wall() - keep) * 1000))

    # --- what it can tell

    def kept(self, service: str) -> int:
        """How many letters there are, as of half a second ago."""
        return self._counts[service]

    async def catch_up(self, service: str) -> None:
        """Returns when all that is in the log now was read. Raises LogUnavailable."""
        names, _ = self._services[service]
        lags = await self._log.lag("", (names.dead,))
        try:
            await self._reading.up_to(lags)
        except TimeoutError:
            raise LogUnavailable("the dead letters are still being read") from None

    async def newest(self) -> int:
        """As DeadIndex.newest."""
        return await self._index.newest()

    async def count(self, service: str, wanted: Selection) -> int:
        await self._forget(service)
        return await self._index.count(service, wanted)

    async def page(
        self, service: str, wanted: Selection, limit: int, *, after: int = 0, until: int = 1 << 62
    ) -> Sequence[tuple[int, Letter]]:
        """As DeadIndex.page."""
        await self._forget(service)
        return await self._index.page(service, wanted, limit, after=after, until=until)

    async def reopened(self, service: str, id_: str) -> Reopened | None:
        return await self._index.reopened(service, id_)

    async def settled(self, service: str, wanted: Collection[tuple[str, int]]) -> frozenset[tuple[str, int]]:
        """Of these (id, generation), those that something came of, by all that is in the log now. Raises
        LogUnavailable."""
        await self.catch_up(service)
        return await self._index.settled(service, wanted)

    def __repr__(self) -> str:
        return f"<DeadView {self._counts}>"
