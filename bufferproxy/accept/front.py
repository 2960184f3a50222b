"""One service as its callers meet it: what a request needs to be accepted, looked up once."""

from __future__ import annotations

from typing import NamedTuple

from bufferproxy.accept.admission import Limits
from bufferproxy.accept.backlog import Backlog
from bufferproxy.ids import DELAYED, service_number
from bufferproxy.log.partitioning import partition_for
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Partition, Priority
from bufferproxy.settle.tiers import wait_from

ORDERING_KEY = b"bufferproxy-key"


class KeySource(NamedTuple):
    """Where the ordering key is when no `Bufferproxy-Key` is sent: header, path (segment, from 1), query
    (parameter) or client (the caller's address)."""

    kind: str
    argument: bytes = b""

    @property
    def place(self) -> str:
        """For people."""
        argument = self.argument.decode("latin-1")
        match self.kind:
            case "header":
                return f"the header {argument}"
            case "path":
                return f"segment {argument} of the path"
            case "query":
                return f"the query parameter {argument}"
        return "the address of the client"


class Terms(NamedTuple):
    """What callers of a service get. Seconds and bytes; `safe` None refuses safe methods."""

    body: int
    reply: float
    safe: float | None
    expire: float
    held: int
    limits: Limits
    order: str
    key: KeySource | None
    key_rated: bool = False
    priority: Priority | None = None
    """Of who says nothing. None: there is one queue, and all are normal."""
    priority_told: bool = False
    """Callers may say another one."""

    @property
    def keyed(self) -> bool:
        """Something depends on the ordering key: the order, or a rate for each key."""
        return self.order != "none" or self.key_rated


class Place(NamedTuple):
    """Where a request is accepted: the topic as its id says it, the partition, and, in a tier, when that is
    waited out (ms since the epoch)."""

    topic: int
    partition: Partition
    hop_at: int | None


class Front:
    """`partitions` of the topic of requests, and with priorities as many of each such topic; `results`: the
    partition of ends that this replica is given."""

    __slots__ = (
        "_queues",
        "_topics",
        "_turn",
        "backlog",
        "held",
        "name",
        "number",
        "partitions",
        "results",
        "terms",
        "topics",
    )

    def __init__(
        self,
        name: str,
        topics: ServiceTopics,
        partitions: tuple[Partition, ...],
        terms: Terms,
        backlog: Backlog,
    ) -> None:
        self.name = name
        self.number = service_number(name)
        self.topics = topics
        self.partitions = partitions
        self.terms = terms
        self.backlog = backlog
        self.results = 0
        self.held = 0
        self._turn = 0
        self._topics = dict(enumerate(topics.fresh)) | {DELAYED: topics.delayed}
        self._queues = [
            tuple(Partition(topic, place.number) for place in partitions) for topic in topics.fresh
        ]

    def partition(self, key: bytes | None, priority: Priority = Priority.NORMAL) -> Partition:
        """Equal keys in one partition, strict order in the first, else each in its turn."""
        partitions = self._queues[priority] if priority else self.partitions
        if len(partitions) == 1 or self.terms.order == "strict":
            return partitions[0]
        if key is not None:
            return partitions[partition_for(key, len(partitions))]
        self._turn = turn = (self._turn + 1) % len(partitions)
        return partitions[turn]

    def place(
        self, key: bytes | None, priority: Priority, now_ms: int, due_at: int | None, expires_at: int
    ) -> Place:
        """What has to wait waits in the tiers, unless others of its key have to wait behind it."""
        if due_at is None or (self.terms.order != "none" and not (key is None and self.terms.order == "key")):
            return Place(int(priority), self.partition(key, priority), None)
        tier, hop_at = wait_from(now_ms, due_at, expires_at)
        return Place(DELAYED, Partition(self.topics.delayed, tier), hop_at)

    def topic(self, number: int) -> str | None:
        """Where a request was accepted whose id says `number`."""
        return self._topics.get(number)

    def __repr__(self) -> str:
        return f"<Front {self.name} {self.backlog!r} held={self.held}>"


def ordering_key(
    source: KeySource | None, target: bytes, headers: list[tuple[bytes, bytes]], client: str
) -> bytes | None:
    """The caller's `Bufferproxy-Key`, else what the service's settings name; None when there is neither."""
    named = header(headers, ORDERING_KEY)
    if named is not None or source is None:
        return named
    match source.kind:
        case "header":
            return header(headers, source.argument)
        case "path":
            segments = target.partition(b"?")[0].split(b"/")
            number = int(source.argument)
            return (segments[number] or None) if number < len(segments) else None
        case "query":
            for pair in target.partition(b"?")[2].split(b"&"):
                name, _, value = pair.partition(b"=")
                if name == source.argument:
                    return value or None
            return None
        case _:
            return client.encode() or None


def header(headers: list[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    """The first value of a header; `wanted` in lower case."""
    size = len(wanted)
    for name, value in headers:
        if len(name) == size and name.lower() == wanted:
            return value or None
    return None
