"""What the Kafka log needs of a client library. Two libraries do it: `kafka_python/` and `librdkafka/`.

An engine makes three kinds of client, and nothing of a library is seen outside its folder:

SendClient    appends records (one a process)
GroupClient   is a member of the consumer group, and commits; it fetches nothing (one a process)
FetchClient   reads partitions from given offsets, in no group

The group says who owns which partitions; what a member owns, a FetchClient reads. So a rebalance that waits
for a slow service never holds up records or commits of another one, whatever the library does meanwhile.

Threads: `Poller` (poller.py) polls each GroupClient and FetchClient on a thread of its own. A method belongs
to that thread unless its docstring says otherwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum, auto
from typing import Any, NamedTuple, Protocol

from bufferproxy.records import Headers, Partition, Record


class Trouble(Enum):
    """What kind of failure Kafka or a client reports: it decides what we do about it."""

    TOO_LARGE = auto()
    """The broker or the client refuses a record for its size: it is not stored."""
    INVALID = auto()
    """The broker refuses this record (its timestamp, its format): it is not stored."""
    DENIED = auto()
    """Not authorized for a topic, a group or the cluster. A record is not stored."""
    MISSING = auto()
    """No such topic or partition. A record is not stored."""
    UNSENT = auto()
    """The record never left this process."""
    AUTHENTICATION = auto()
    """The broker does not accept our credentials."""
    NOT_A_MEMBER = auto()
    """The group went on without us."""
    FENCED = auto()
    """Somebody else has joined under our `group.instance.id`, which is `worker.id`."""
    REBALANCING = auto()
    """Ask again when the group has settled."""
    PASSING = auto()
    """An election, a coordinator that loads, no connection, no answer in time: ask again. A record may be
    stored."""
    FATAL = auto()
    """The client is of no further use: replace it. A record may be stored."""


class Failure(NamedTuple):
    """`text` names what failed and why, for people; `topic` where it concerns one topic."""

    trouble: Trouble
    text: str
    topic: str | None = None


class ClientFailed(Exception):
    """Raised by clients instead of the library's own exceptions."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


Landed = Callable[[Any, int, Failure | None], None]
"""`landed(owner, offset, failure)`: one record is decided. Called on any thread, once per record sent."""
Committed = Callable[[Failure | None], None]
"""Called on any thread, once, when a commit is decided."""


class SendClient(ABC):
    """An idempotent producer with acks=all. What it is given later for a partition is stored later."""

    dead: Failure | None = None
    """Why the client is of no further use; None while it is."""
    complaint: str = ""
    """What the client has said about its connections, where it says so: a wrong password, for one."""

    @abstractmethod
    def send(
        self,
        partition: Partition,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
        owner: Any,
    ) -> Failure | None:
        """Queue a record. On the event loop; never blocks. A failure that is returned means that nothing was
        queued, and `landed` is not called. Otherwise `landed(owner, ...)` is called once, at the latest when
        the delivery timeout (`options.DELIVERY_SECONDS`) is over or the client is closed."""

    @abstractmethod
    def warm(self, topics: Collection[str], seconds: float) -> Mapping[str, Failure]:
        """Learn the partitions of these topics, so that `send` finds them known. Blocks, on any thread but
        the loop's. Returns what is not known after so many seconds, and why."""

    @abstractmethod
    def close(self, seconds: float) -> None:
        """Wait so long for what is queued, then fail the rest, and end all threads. Blocks."""


class GroupListener(Protocol):
    """Told by a GroupClient from within `poll`."""

    def assigned(self, partitions: Collection[Partition]) -> None:
        """These are ours now, besides what was already."""
        ...

    def revoked(self, partitions: Collection[Partition]) -> None:
        """These must be given away. They are ours until `GroupClient.release`; heartbeats go on meanwhile."""
        ...

    def lost(self, partitions: Collection[Partition]) -> None:
        """These may belong to another member already."""
        ...


class GroupClient(ABC):
    """A member of the consumer group that subscribes to topics and never fetches. Rebalances are cooperative
    (KIP-429): what a member keeps is not touched."""

    @abstractmethod
    def subscribe(self, topics: Collection[str]) -> None:
        """In place of what was subscribed before. Raises ClientFailed."""

    @abstractmethod
    def poll(self, seconds: float) -> Sequence[Failure]:
        """Take part in rebalances and tell the listener; return within `seconds`, sooner when there is
        something new. Returns what is wrong with the group, the coordinator or a subscribed topic. Raises
        ClientFailed (FATAL) when the client must be replaced."""

    @abstractmethod
    def release(self) -> None:
        """What `revoked` told last may go to others now. On any thread."""

    @abstractmethod
    def commit(self, offsets: Mapping[Partition, tuple[int, str]], done: Committed) -> None:
        """Commit next offsets with their metadata under the current generation, in one request. The
        partitions need not be among the assigned ones. On any thread; never blocks."""

    @property
    @abstractmethod
    def joined(self) -> bool:
        """It is a member, and no rebalance is under way. On any thread."""

    @abstractmethod
    def close(self, *, leave: bool) -> None:
        """Ends all threads; calls no listener. `leave`: leave the group at once where the protocol lets a
        member do so (a static one is removed by `Engine`'s caller). Blocks, at most some seconds."""


class Polled(NamedTuple):
    """`failures` concern the topics they name (denied, missing), or all (PASSING, AUTHENTICATION)."""

    records: Sequence[Record] = ()
    failures: Sequence[Failure] = ()


class FetchClient(ABC):
    """Reads partitions from given offsets on, in no group."""

    @abstractmethod
    def begin(self, offsets: Mapping[Partition, int]) -> None:
        """Read these too, from these offsets (or from the first kept one, where that comes later)."""

    @abstractmethod
    def end(self, partitions: Collection[Partition]) -> None:
        """Read these no more. A later `poll` returns nothing of them."""

    @abstractmethod
    def pause(self, partitions: Collection[Partition]) -> None:
        """A later `poll` returns nothing of these until `resume`; nothing is skipped."""

    @abstractmethod
    def resume(self, partitions: Collection[Partition]) -> None: ...

    @abstractmethod
    def poll(self, seconds: float) -> Polled:
        """What there is, in the order of offsets within a partition; at most FETCHED records. Waits up to
        `seconds` for the first. Raises ClientFailed (FATAL) when the client must be replaced."""

    @abstractmethod
    def position(self, partition: Partition) -> int:
        """The next offset that `poll` would return something from, past gaps that compaction left; at least
        what was begun with."""

    @abstractmethod
    def bounds(self, partition: Partition, seconds: float) -> tuple[int, int]:
        """The first kept offset and the next one to be written, asked of the leader. Blocks up to `seconds`.
        Raises ClientFailed."""

    @abstractmethod
    def close(self) -> None:
        """Ends all threads. Blocks, at most some seconds."""


FETCHED = 500
"""The most records that one poll returns."""


class Engine(ABC):
    """Makes clients. All of it blocks; each raises LogUnusable for settings that cannot work, and
    ClientFailed when no broker can be used (AUTHENTICATION, DENIED, PASSING)."""

    name: str
    """`kafka-python` or `librdkafka`."""
    version: str
    session: float
    """Seconds without a heartbeat after which a member's partitions go to others."""

    @abstractmethod
    def sender(self, landed: Landed) -> SendClient: ...

    @abstractmethod
    def member(self, group: str, listener: GroupListener) -> GroupClient: ...

    @abstractmethod
    def fetcher(self, *, wait: float) -> FetchClient:
        """`wait`: seconds that a broker may hold a fetch that finds nothing."""
