"""What a run left in its log, for `history.py`: the ends of requests, and every commit. Blocks.

Read beside bufferproxy, while it runs. Kafka keeps each commit as a record of
`__consumer_offsets`, so there the whole history of commits is seen; SQLite keeps the last one only, and a
`Watch` samples it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kafka import KafkaConsumer, TopicPartition

from bufferproxy.envelope import change_of
from bufferproxy.errors import EnvelopeError
from bufferproxy.log.sqlite import open_sqlite
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Partition, Position, Record
from bufferproxy.testing.history import End
from bufferproxy.testing.kafka_offsets import OFFSETS, commit_of, generation_of
from bufferproxy.testing.samples import Sample

if TYPE_CHECKING:
    from types import TracebackType

    from bufferproxy.testing.world import LogPlace

MANY = 10_000_000
"""Records: all that a partition has."""
PATIENCE = 20.0
"""Seconds without a record after which reading from Kafka is given up."""


def topics_of(place: LogPlace, service: str) -> ServiceTopics:
    prefix = place.settings.get("kafka", {}).get("prefix", "bufferproxy")
    return ServiceTopics.of(service, prefix, group=prefix if place.kafka else None)


def ends_of(place: LogPlace, service: str) -> list[End]:
    """Whatever `.results` and `.states` tell, in the order stored in each partition."""
    names = topics_of(place, service)
    read = _kafka_records if place.kafka else _sqlite_records
    found = []
    for topic in (names.results, names.states):
        for record in read(place, topic):
            with contextlib.suppress(EnvelopeError):  # not of a request: a marker
                change = change_of(record)
                found.append(End(change.id, change.state.value, change.at / 1000))
    return found


def commits_of(place: LogPlace, service: str) -> list[Sample]:
    """Every commit that Kafka has taken for the group of `service`, in its order."""
    group = topics_of(place, service).group
    commits = []
    for record in _kafka_records(place, OFFSETS):
        commit = commit_of(record)
        if commit is not None and commit[0] == group:
            commits.append(Sample(record.appended_at, commit[1], commit[2]))
    return commits


def rebalances_of(place: LogPlace, service: str) -> int:
    """How often Kafka has rebalanced the group of `service`: once for each generation it wrote down."""
    group = topics_of(place, service).group
    found = (generation_of(record) for record in _kafka_records(place, OFFSETS))
    return len({generation for of, generation in found if of == group})


def sqlite_commits(place: LogPlace) -> list[Sample]:
    """What every group has committed now."""
    asked = (
        'SELECT name || "/" || number, next FROM offsets'
        " JOIN partitions ON partitions.id = partition JOIN topics ON topics.id = topic"
    )
    with _sqlite(place) as connection:
        return [Sample(time.time(), of, offset) for of, offset in connection.execute(asked)]


@contextlib.contextmanager
def _sqlite(place: LogPlace) -> Iterator[sqlite3.Connection]:
    path = place.url.removeprefix("sqlite:")
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)
    try:
        yield connection
    finally:
        connection.close()


def _sqlite_records(place: LogPlace, topic: str) -> list[Record]:
    """From a copy, for the log has one owner."""
    with tempfile.TemporaryDirectory(prefix="bufferproxy-evidence-") as folder:
        copy = Path(folder) / "log.db"
        with _sqlite(place) as connection, contextlib.closing(sqlite3.connect(copy)) as into:
            connection.backup(into)
        return asyncio.run(_records_of(copy, topic))


async def _records_of(file: Path, topic: str) -> list[Record]:
    log = await open_sqlite(file, fatal=lambda _: None)
    try:
        partitions = [Partition(topic, number) for number in range(log.partitions(topic))]
        return [record for each in partitions for record in await log.read(Position(each, 0), MANY)]
    finally:
        await log.close()


def _kafka_records(place: LogPlace, topic: str) -> list[Record]:
    brokers = place.url.removeprefix("kafka://").split(",")
    consumer = KafkaConsumer(bootstrap_servers=brokers, enable_auto_commit=False, metrics_enabled=False)
    try:
        numbers = consumer.partitions_for_topic(topic) or ()
        places = [TopicPartition(topic, number) for number in sorted(numbers)]
        if not places:
            return []
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        return list(_until_the_end(consumer, consumer.end_offsets(places)))
    finally:
        consumer.close(autocommit=False)


def _until_the_end(consumer: Any, ends: Mapping[Any, int]) -> Iterator[Record]:
    deadline = time.monotonic() + PATIENCE
    while any(consumer.position(place) < end for place, end in ends.items()):
        polled = consumer.poll(timeout_ms=200)
        for place, batch in polled.items():
            partition = Partition(place.topic, place.partition)
            for one in batch:
                yield Record(
                    partition, one.offset, one.key, one.value or b"", tuple(one.headers), one.timestamp / 1000
                )
        if polled:
            deadline = time.monotonic() + PATIENCE
        elif time.monotonic() > deadline:
            raise AssertionError(f"nothing came from Kafka for {PATIENCE:g} s")


def resident(pid: int) -> float:
    """Bytes of memory that a process holds. Raises OSError when it has ended."""
    with open(f"/proc/{pid}/status") as status:
        line = next((line for line in status if line.startswith("VmRSS:")), "VmRSS: 0 kB")
    return float(line.split()[1]) * 1024


class Watch:
    """Samples something a few times a second, in a thread, until the end of its `with`. What cannot be looked
    at just now is left out."""

    def __init__(self, look: Callable[[], list[Sample]], *, every: float = 0.05) -> None:
        self.samples: list[Sample] = []
        self._look = look
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._over.wait(self._every):
            with contextlib.suppress(OSError, sqlite3.Error):
                self.samples += self._look()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
