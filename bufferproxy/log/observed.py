"""A log that tells how its operations went. Everything else is the backend's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

from bufferproxy.clock import Clock
from bufferproxy.log.contract import (
    NO_MARKS,
    Appended,
    Done,
    Lag,
    LeaseListener,
    Log,
    LogReader,
    LogTail,
    Topic,
)
from bufferproxy.observe.events import Emit, LogAppended, LogOperated
from bufferproxy.records import Entry, Partition, Position, Record

T = TypeVar("T")


class ObservedLog(Log):
    def __init__(self, log: Log, clock: Clock, emit: Emit) -> None:
        self.durability = log.durability
        self.library = log.library
        self._log = log
        self._clock = clock
        self._emit = emit
        self._begun: list[float] = []
        """When the appends began that became durable in this turn of the loop."""
        self._durable_at = 0.0

    def submit(self, partition: Partition, entry: Entry, done: Done) -> None:
        self._log.submit(partition, entry, partial(self._appended, self._clock.now(), done))

    def _appended(self, began: float, done: Done, result: Appended) -> None:
        if isinstance(result, Position):
            # A backend decides many at a time: one moment and one event are enough for all of this turn.
            if not self._begun:
                self._durable_at = self._clock.now()
                asyncio.get_running_loop().call_soon(self._tell_durable)
            self._begun.append(began)
        else:
            self._emit(LogOperated("append", self._clock.now() - began, type(result).__name__))
        done(result)

    def _tell_durable(self) -> None:
        begun, self._begun, at = self._begun, [], self._durable_at
        # One that began later in this turn, and was decided at once, took no time that could be told.
        self._emit(LogAppended([at - began if at > began else 0.0 for began in begun]))

    @property
    def short(self) -> bool:
        return self._log.short

    @property
    def shortage(self) -> str:
        return self._log.shortage

    @property
    def hopeless(self) -> bool:
        return self._log.hopeless

    @property
    def warning(self) -> str:
        return self._log.warning

    def partitions(self, topic: str) -> int:
        return self._log.partitions(topic)

    async def lag(self, group: str, topics: Sequence[str]) -> Mapping[Partition, Lag]:
        return await self._told("lag", self._log.lag(group, topics))

    async def lags(
        self, wanted: Mapping[str, tuple[str, Sequence[str]]]
    ) -> Mapping[str, Mapping[Partition, Lag]]:
        return await self._told("lag", self._log.lags(wanted))

    async def read(self, position: Position, limit: int) -> Sequence[Record]:
        return await self._told("read", self._log.read(position, limit))

    async def ping(self) -> None:
        await self._told("ping", self._log.ping())

    async def ensure(self, topics: Sequence[Topic], *, create: bool) -> None:
        await self._log.ensure(topics, create=create)

    async def reader(self, group: str, topics: Sequence[str], listener: LeaseListener) -> LogReader:
        return ObservedReader(await self._log.reader(group, topics, listener), self._told)

    async def tail(self, offsets: Mapping[Partition, int], *, alone: bool = False) -> LogTail:
        return await self._log.tail(offsets, alone=alone)

    async def close(self) -> None:
        await self._log.close()

    async def _told(self, operation: str, work: Awaitable[T]) -> T:
        """Waits for `work`, and tells of what came to an end; what was cancelled did not."""
        began = self._clock.now()
        try:
            found = await work
        except Exception as problem:
            self._emit(LogOperated(operation, self._clock.now() - began, type(problem).__name__))
            raise
        self._emit(LogOperated(operation, self._clock.now() - began))
        return found

    def __repr__(self) -> str:
        return f"<ObservedLog {self._log!r}>"


class Told(Protocol):
    async def __call__(self, operation: str, work: Awaitable[T], /) -> T: ...


class ObservedReader(LogReader):
    def __init__(self, reader: LogReader, told: Told) -> None:
        self._reader = reader
        self._told = told

    async def fetch(self) -> Sequence[Record]:
        return await self._told("fetch", self._reader.fetch())

    def after(self, record: Record) -> int:
        return self._reader.after(record)

    async def commit(
        self, offsets: Mapping[Partition, tuple[int, int]], marks: Mapping[Partition, str] = NO_MARKS
    ) -> Collection[Partition]:
        return await self._told("commit", self._reader.commit(offsets, marks))

    def pause(self, partition: Partition) -> None:
        self._reader.pause(partition)

    def resume(self, partition: Partition) -> None:
        self._reader.resume(partition)

    async def close(self) -> None:
        await self._reader.close()

    def __repr__(self) -> str:
        return f"<ObservedReader {self._reader!r}>"
