"""What every log promises; `bufferproxy.testing.log_suite` checks it against each backend.

1. Durability point. `submit` reports a Position when the record survives a crash (SQLite: committed and
   fsynced; Kafka: acks=all). It fails in two ways only: AppendRefused (certainly not stored) and
   AppendUncertain (may be stored).
2. Offsets rise within a partition, with gaps. A commit names the *next* offset to be read. "+1" happens
   inside a backend and nowhere else: `Record.offset` in, `LogReader.after(record)` out.
3. Order is per partition: records of one partition are fetched in the order of their offsets, and two
   submits to one partition, one after the other from one caller, are stored in that order.
4. Lease. One reader of a group holds a partition, with an epoch; a commit under a lost lease changes
   nothing and says so. Committed offsets never go back.
5. Redelivery. After a crash everything past the last commit comes again, in order.
6. Cancellation. A cancelled `fetch` loses nothing: what it would have returned comes with the next one.
   A cancelled `append` is uncertain: the record may be stored.
7. Bytes only. A log never looks into values and headers.

Not in it: acknowledgement per record, delay, priority, dead letters, transactions. They are built above,
once, for every backend.

All methods are called on one event loop, and callbacks are called there. No method blocks it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from bufferproxy.errors import AppendRefused, AppendUncertain, LogUnavailable
from bufferproxy.log.marks import decode
from bufferproxy.records import Entry, Partition, Position, Record

NO_MARKS: Mapping[Partition, str] = MappingProxyType({})

PAGE = 500
"""Records that are read at a time where all of a partition are looked through."""

Appended = Position | AppendRefused | AppendUncertain
Done = Callable[[Appended], None]
"""Called once for each submit, on the event loop, in batches; must not raise and must not block."""


class Keep(NamedTuple):
    """How long a topic keeps a record.

    `committed_by`: until the named group has committed past it. `seconds`: for at least this long.
    `compact`: only the newest record of each key (a record without headers and value is a tombstone).
    """

    committed_by: str | None = None
    seconds: float | None = None
    compact: bool = False


class Topic(NamedTuple):
    """A topic and what it needs. Made by `log/topics.py` from the settings."""

    name: str
    partitions: int
    keep: Keep
    max_bytes: int = 1 << 20
    """The largest record, key and headers included."""
    copies: bool = False
    """It takes copies of what was accepted, perhaps under a larger limit: these it must not refuse."""


class Library(NamedTuple):
    name: str
    version: str


class Lease(NamedTuple):
    """The right to read a partition for a group, until it is revoked or lost."""

    epoch: int
    committed: int
    """The next offset to be read when the lease began."""
    marks: str = ""
    """What the last commit told beside it (`log/marks.py`)."""


class Lag(NamedTuple):
    """What a group has before it in one partition: beyond its commit, without what its marks tell as done.
    `records` is exact but for gaps, `size` (bytes of values) an estimate on Kafka and where something is
    done; `start` <= `committed` <= `end`, where `end` is the next offset to be written."""

    start: int
    committed: int
    end: int
    records: int
    size: int
    stale: bool = False
    """As of an earlier look: the log could not tell this time."""

    def without(self, marks: str) -> Lag:
        """The same where `marks` of the commit tell what is done already."""
        done = min(self.records, sum(end - first for first, end in decode(marks, self.committed).done))
        if not done:
            return self
        left = self.records - done
        return self._replace(records=left, size=self.size * left // self.records)


class LeaseListener(Protocol):
    """Told by a reader, on the event loop, what it holds."""

    def granted(self, leases: Mapping[Partition, Lease]) -> None:
        """Records of these partitions come from now on, from `Lease.committed` on. A partition that is
        already held may be granted again with a new epoch: then its window goes on, nothing is read twice."""
        ...

    async def revoking(self, partitions: Collection[Partition]) -> None:
        """Clean hand-over: stop sending what lies there, wait for what is in flight, commit, return."""
        ...

    def lost(self, partitions: Collection[Partition]) -> None:
        """Somebody else may already read these: send nothing of them any more; commits would be refused."""
        ...


class LogWriter(ABC):
    @abstractmethod
    def submit(self, partition: Partition, entry: Entry, done: Done) -> None:
        """Queue `entry` for `partition`; `done` is called when it is decided. Never blocks; when the log's
        own buffer is full, `done` gets AppendRefused (possibly before `submit` returns)."""

    @abstractmethod
    def partitions(self, topic: str) -> int:
        """How many partitions `topic` has, as found when the log was opened."""

    @property
    def short(self) -> bool:
        """There is room for the settling of what was accepted only. A topic of requests refuses by itself."""
        return self.shortage != ""

    @property
    def shortage(self) -> str:
        """Why it is `short`, in words for callers; empty while there is room."""
        return ""

    async def append(self, partition: Partition, entry: Entry) -> Position:
        """`submit`, awaited. Raises AppendRefused or AppendUncertain."""
        decided: asyncio.Future[Position] = asyncio.get_running_loop().create_future()

        def done(result: Appended) -> None:
            if decided.done():  # cancelled: the record may be stored all the same
                return
            if isinstance(result, Position):
                decided.set_result(result)
            else:
                decided.set_exception(result)

        self.submit(partition, entry, done)
        return await decided


class LogReader(ABC):
    """Reads topics for a group. One task fetches; commits may come from others."""

    @abstractmethod
    async def fetch(self) -> Sequence[Record]:
        """At least one record, at most some hundred, of held and not paused partitions. Waits for it.
        Raises LogUnavailable when the log is away; the next call tries again."""

    @abstractmethod
    def after(self, record: Record) -> int:
        """The offset to commit when everything up to `record` is settled."""

    @abstractmethod
    async def commit(
        self, offsets: Mapping[Partition, tuple[int, int]], marks: Mapping[Partition, str] = NO_MARKS
    ) -> Collection[Partition]:
        """Commit partition -> (epoch, next offset), and what `marks` (at most 3 KiB each, see `Lease.marks`)
        tell beside it. The same offset again replaces its marks. Returns the partitions whose lease is lost:
        nothing changed there. Raises LogUnavailable: it may or may not have been committed."""

    @abstractmethod
    def pause(self, partition: Partition) -> None:
        """`fetch` returns nothing of it until `resume`. What was fetched before may still come once."""

    @abstractmethod
    def resume(self, partition: Partition) -> None: ...

    @abstractmethod
    async def close(self) -> None:
        """Leave the group at once, without waiting for a session to run out. Calls no listener."""


class LogTail(ABC):
    """Reads partitions without a group, from given offsets on."""

    @abstractmethod
    async def fetch(self) -> Sequence[Record]:
        """As LogReader.fetch."""

    def after(self, record: Record) -> int:
        """The offset from which a later tail goes on after `record`."""
        return record.offset + 1

    def rest(self) -> None:  # noqa: B027 - a log whose records come at no cost need do nothing
        """Nobody waits for what comes: a log may let records gather for a quarter of a second."""

    def hurry(self) -> None:  # noqa: B027
        """Somebody does, as at the beginning."""

    @abstractmethod
    async def close(self) -> None: ...


class LogInspector(ABC):
    @abstractmethod
    async def lag(self, group: str, topics: Sequence[str]) -> Mapping[Partition, Lag]:
        """Every partition of `topics` that exist. Commits are looked at before ends: what was appended before
        one of these commits, to whichever of `topics`, lies below the ends told here. The group "" has
        committed nothing. Raises LogUnavailable when any of it is not known now."""

    async def lags(
        self, wanted: Mapping[str, tuple[str, Sequence[str]]]
    ) -> Mapping[str, Mapping[Partition, Lag]]:
        """`lag` of many: name -> (group, topics). What is not known now is as of the last answer, and
        `Lag.stale`; a name of which nothing was ever known is left out, or has fewer partitions. Raises
        LogUnavailable when that is all of them."""
        found: dict[str, Mapping[Partition, Lag]] = {}
        failure: LogUnavailable | None = None
        for name, (group, topics) in wanted.items():
            try:
                found[name] = await self.lag(group, topics)
            except LogUnavailable as unavailable:
                failure = unavailable
        if failure is not None and not found:
            raise failure
        return found

    @abstractmethod
    async def read(self, position: Position, limit: int) -> Sequence[Record]:
        """Up to `limit` records of one partition from an offset on (from the first kept one after it);
        empty past the end. Raises LogUnavailable."""

    async def pages(self, partition: Partition, start: int, end: int) -> AsyncIterator[Sequence[Record]]:
        """All records from `start` to before `end`, some hundred at a time."""
        while start < end and (page := await self.read(Position(partition, start), PAGE)):
            start = page[-1].offset + 1
            yield [record for record in page if record.offset < end]

    @abstractmethod
    async def ping(self) -> None:
        """Returns when the log answers and can store and deliver; else LogUnavailable within 3 s. It waits
        for nothing but the log: not behind reads and lags, however many are under way."""


class Log(LogWriter, LogInspector):
    """A backend, opened by `log/open.py`."""

    durability: str
    """What "durable" means here, for people."""
    library: Library | None = None
    """What drives a log that is elsewhere."""

    @property
    def hopeless(self) -> bool:
        """`shortage` will not end when what was accepted has been settled: an operator has to make room."""
        return False

    @property
    def warning(self) -> str:
        """What an operator should see to although the log works, in words; empty when there is nothing."""
        return ""

    @abstractmethod
    async def ensure(self, topics: Sequence[Topic], *, create: bool) -> None:
        """Make missing topics (or, unless `create`, raise LogUnusable that names `topics create`)."""

    @abstractmethod
    async def reader(self, group: str, topics: Sequence[str], listener: LeaseListener) -> LogReader: ...

    @abstractmethod
    async def tail(self, offsets: Mapping[Partition, int], *, alone: bool = False) -> LogTail:
        """From these offsets on; one that is no longer kept means the first kept one. `alone`: what other
        tails wait for never delays this one."""

    @abstractmethod
    async def close(self) -> None:
        """Flush what was submitted (each `done` is called), then let go of everything."""
