"""The small world in which the log's contract suite runs: a backend, a log, and members who read from it."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from bufferproxy.log.contract import Keep, Lag, Lease, Log, LogReader, LogTail, Topic
from bufferproxy.records import Entry, Headers, Partition, Position, Record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

PATIENCE = 60.0
"""Seconds that any single wait may take before it is a failure; nothing waits for time to pass."""


class Backend(ABC):
    """What a backend's own test module brings along. Make a new one for each test.

    The suite expects that leases come and go whether or not somebody fetches.
    """

    exact_lag = True
    """`Lag.size` is exact, not an estimate."""
    several_readers = True
    """Readers of one group share its partitions."""
    compacts = True
    """`trim` also removes what a newer record of the same key has replaced."""

    @abstractmethod
    async def open(self) -> Log: ...

    @abstractmethod
    async def reopen(self, log: Log) -> Log:
        """The process that had `log` open is killed, and a new one opens what it left behind. `log` is
        not used again. (In one process: abandon it, so that nothing more of it reaches the store.)"""

    @abstractmethod
    async def trim(self, log: Log) -> None:
        """Returns when `log` has removed what `Topic.keep` lets go."""

    async def close(self, log: Log) -> None:
        await log.close()


class Holding:
    """A LeaseListener that remembers, and can be waited for. `on_revoking` runs inside `revoking`."""

    def __init__(self) -> None:
        self.leases: dict[Partition, Lease] = {}
        self.granted_leases: list[tuple[Partition, Lease]] = []
        self.calls: list[str] = []
        self.on_revoking: Callable[[Collection[Partition]], object] | None = None
        self._changed = asyncio.Event()

    def granted(self, leases: Mapping[Partition, Lease]) -> None:
        self.leases.update(leases)
        self.granted_leases.extend(leases.items())
        self._note("granted")

    async def revoking(self, partitions: Collection[Partition]) -> None:
        if self.on_revoking is not None:
            waiting = self.on_revoking(partitions)
            if asyncio.iscoroutine(waiting):
                await waiting
        self._drop(partitions)
        self._note("revoking")

    def lost(self, partitions: Collection[Partition]) -> None:
        self._drop(partitions)
        self._note("lost")

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def _drop(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self.leases.pop(partition, None)

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self._changed.set()


class Member:
    """A reader of a group together with what it holds."""

    def __init__(self, reader: LogReader, holding: Holding) -> None:
        self.reader = reader
        self.holding = holding

    async def holds(self, partitions: int) -> None:
        """Returns once exactly so many partitions are held."""
        await self.holding.until(lambda: len(self.holding.leases) == partitions)

    async def take(self, count: int) -> list[Record]:
        """Fetches until there are `count` records; fails when there are more."""
        records = await gather(self.reader, count)
        assert len(records) == count, f"{len(records)} records where {count} were expected"
        return records

    async def commit(self, *records: Record) -> Collection[Partition]:
        """Everything up to each record is settled. Returns the partitions whose lease is lost."""
        return await self.reader.commit(
            {
                record.partition: (
                    self.holding.leases[record.partition].epoch,
                    self.reader.after(record),
                )
                for record in records
            }
        )


async def gather(source: LogReader | LogTail, count: int) -> list[Record]:
    """Fetches until there are at least `count` records."""
    records: list[Record] = []
    while len(records) < count:
        async with asyncio.timeout(PATIENCE):
            fetched = await source.fetch()
        assert fetched, "fetch returns at least one record"
        records.extend(fetched)
    return records


class World:
    """A log under test, with names that no other test uses."""

    def __init__(self, backend: Backend, log: Log) -> None:
        self.backend = backend
        self.log = log
        self.group = f"group-{uuid.uuid4().hex}"
        self._members: list[Member] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def around(cls, backend: Backend) -> AsyncIterator[World]:
        world = cls(backend, await backend.open())
        try:
            yield world
        finally:
            await world.close()

    async def topic(self, partitions: int = 1, *, keep: Keep | None = None, max_bytes: int = 2 << 20) -> str:
        """A new topic; `keep` is for ever unless told."""
        name = f"topic-{uuid.uuid4().hex}"
        await self.log.ensure([Topic(name, partitions, keep or Keep(), max_bytes)], create=True)
        return name

    async def partition(self, **wanted: object) -> Partition:
        """The one partition of a new topic."""
        return Partition(await self.topic(**wanted), 0)  # type: ignore[arg-type]

    async def append(
        self, partition: Partition, *values: bytes, key: bytes | None = None, headers: Headers = ()
    ) -> list[Position]:
        """Appends the values, in this order, and returns where they lie."""
        waiting = [self.log.append(partition, Entry(key, value, headers)) for value in values]
        async with asyncio.timeout(PATIENCE):
            return list(await asyncio.gather(*waiting))

    async def join(self, *topics: str, group: str | None = None) -> Member:
        """A new reader of the group (of this world's own unless told)."""
        holding = Holding()
        async with asyncio.timeout(PATIENCE):
            reader = await self.log.reader(group or self.group, topics, holding)
        member = Member(reader, holding)
        self._members.append(member)
        return member

    async def leave(self, member: Member) -> None:
        self._members.remove(member)
        async with asyncio.timeout(PATIENCE):
            await member.reader.close()

    async def lag(self, partition: Partition, group: str | None = None) -> Lag:
        return (await self.log.lag(group or self.group, [partition.topic]))[partition]

    async def read_all(self, partition: Partition) -> Sequence[Record]:
        return await self.log.read(Position(partition, 0), 10_000)

    async def trim(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.backend.trim(self.log)

    async def crash(self) -> None:
        """What was acknowledged must still be there; readers and their leases are gone."""
        self._members.clear()
        async with asyncio.timeout(PATIENCE):
            self.log = await self.backend.reopen(self.log)

    async def close(self) -> None:
        for member in list(self._members):
            await self.leave(member)
        async with asyncio.timeout(PATIENCE):
            await self.backend.close(self.log)


def values(records: Sequence[Record]) -> list[bytes]:
    return [record.value for record in records]


def numbered(count: int, prefix: str = "") -> list[bytes]:
    """`count` values that tell their order."""
    return [f"{prefix}{number:05d}".encode() for number in range(count)]
