"""What tests of the Kafka log's engines share: topics, senders, fetchers and members that are polled."""

from __future__ import annotations

import threading
import time
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from bufferproxy.log.kafka.engine import FETCHED, ClientFailed, Engine, Failure, Trouble
from bufferproxy.log.kafka.kafka_python.engine import KafkaPython
from bufferproxy.log.kafka.kafka_python.settings import Clients
from bufferproxy.log.kafka.librdkafka.engine import Librdkafka
from bufferproxy.log.kafka.options import KafkaOptions
from bufferproxy.records import Partition, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from bufferproxy.log.kafka.engine import FetchClient
    from bufferproxy.records import Headers

PARTITIONS = 6
SESSION_SECONDS = 3.0


class Kafka:
    """Topics and engines of one test."""

    def __init__(self, bootstrap: str, library: str, *, session: float = SESSION_SECONDS) -> None:
        """`session`: seconds, where a test does not say otherwise."""
        self.bootstrap = bootstrap
        self.library = library
        self._session = session
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        self._closers: list[Callable[[], object]] = [self.admin.close]

    def topics(self, number: int, partitions: int = PARTITIONS, **settings: object) -> list[str]:
        names = {name.replace("_", "."): str(value) for name, value in settings.items()}
        topics = [f"t{uuid.uuid4().hex[:10]}" for _ in range(number)]
        self.admin.create_topics([NewTopic(t, partitions, 1, topic_configs=names) for t in topics])
        return topics

    def topic(self, partitions: int = PARTITIONS, **settings: object) -> str:
        return self.topics(1, partitions, **settings)[0]

    def engine(
        self, *, instance: str | None = None, session: float | None = None, library: str | None = None
    ) -> Engine:
        seconds = self._session if session is None else session
        options = KafkaOptions(instance_id=instance, options={"session_timeout_ms": int(seconds * 1000)})
        if (library or self.library) == "librdkafka":
            return Librdkafka(self.bootstrap, options)
        return KafkaPython(Clients(self.bootstrap, options))

    def sender(self, *topics: str) -> Sent:
        sent = Sent(self.engine(), *topics)
        self._closers.append(lambda: sent.client.close(2))
        return sent

    def fetcher(self) -> Fetched:
        fetched = Fetched(self.engine().fetcher(wait=0.2))
        self._closers.append(fetched.client.close)
        return fetched

    def member(self, topics: Collection[str], *, hold: bool = False, **engine: Any) -> Member:
        group = min(topics)
        member = Member(self.engine(**engine), group, topics, hold=hold)
        self._closers.append(member.close)
        return member

    def committed(self, group: str) -> Mapping[Any, Any]:
        found: Mapping[Any, Any] = self.admin.list_group_offsets({group: None})[group]
        return found

    def close(self) -> None:
        while self._closers:
            self._closers.pop()()


class Sent:
    """A sender, and what became of its records."""

    def __init__(self, engine: Engine, *topics: str) -> None:
        self.decided: dict[Any, tuple[int, Failure | None]] = {}
        self._changed = threading.Condition()
        self.client = engine.sender(self._landed)
        self.missing = self.client.warm(topics, 5.0)

    def _landed(self, owner: Any, offset: int, failure: Failure | None) -> None:
        with self._changed:
            assert owner not in self.decided, "each is decided once"
            self.decided[owner] = offset, failure
            self._changed.notify_all()

    def send(
        self,
        partition: Partition,
        value: bytes | None,
        owner: Any,
        *,
        headers: Headers = (),
        at: float | None = None,
    ) -> Failure | None:
        stamp = int((time.time() if at is None else at) * 1000)
        return self.client.send(partition, b"k", value, headers, stamp, owner)

    def queue(self, partition: Partition, value: bytes, owner: Any, *, at: float | None = None) -> None:
        """`send`, which must not fail."""
        assert self.send(partition, value, owner, at=at) is None

    def outcome(self, owner: Any) -> tuple[int, Trouble | None]:
        with self._changed:
            assert self._changed.wait_for(lambda: owner in self.decided, 20)
        offset, failure = self.decided[owner]
        return offset, failure and failure.trouble


class Fetched:
    """A fetcher, and what it has brought."""

    def __init__(self, client: FetchClient) -> None:
        self.client = client
        self.records: dict[Partition, list[Record]] = defaultdict(list)
        self.failures: list[Failure] = []

    def poll(self, seconds: float = 0.2) -> list[Record]:
        polled = self.client.poll(seconds)
        assert len(polled.records) <= FETCHED
        for record in polled.records:
            self.records[record.partition].append(record)
        self.failures += polled.failures
        return list(polled.records)

    def until(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, ({p: len(r) for p, r in self.records.items()}, self.failures)
            self.poll()

    def offsets(self, partition: Partition) -> list[int]:
        return [record.offset for record in self.records[partition]]


class Member:
    """A group client that is polled on a thread of its own, and what its listener was told."""

    def __init__(self, engine: Engine, group: str, topics: Collection[str], *, hold: bool = False) -> None:
        self.owned: set[Partition] = set()
        self.leaving: set[Partition] = set()
        self.losses = 0
        self.failures: list[Failure] = []
        self.failed: Failure | None = None
        self._hold = hold
        self._changed = threading.Condition()
        self._going = threading.Event()
        self._going.set()
        self._stopping = self._closed = False
        self.client = engine.member(group, self)
        self.client.subscribe(topics)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping:
            self._going.wait()
            try:
                self.failures += self.client.poll(0.25)
            except ClientFailed as error:
                self.failed = error.failure
                self._stopping = True
            with self._changed:
                self._changed.notify_all()

    def assigned(self, partitions: Collection[Partition]) -> None:
        self._tell(lambda: self.owned.update(partitions))

    def revoked(self, partitions: Collection[Partition]) -> None:
        self._tell(lambda: self.leaving.update(partitions))
        if not self._hold:
            self.release()

    def release(self) -> None:
        def let_go() -> None:
            self.owned -= self.leaving
            self.leaving.clear()

        self._tell(let_go)
        self.client.release()

    def lost(self, partitions: Collection[Partition]) -> None:
        def lose() -> None:
            self.losses += 1
            self.owned.difference_update(partitions)

        self._tell(lose)

    def _tell(self, change: Callable[[], None]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()

    def until(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, seconds), (self.owned, self.failures, self.failed)

    def has(self, number: int) -> None:
        """Waits until it owns so many, and the group has settled."""
        self.until(lambda: len(self.owned) == number and not self.leaving and self.client.joined)

    def commit(self, offsets: Mapping[Partition, tuple[int, str]]) -> Failure | None:
        decided, answers = threading.Event(), []

        def done(failure: Failure | None) -> None:
            answers.append(failure)
            decided.set()

        self.client.commit(offsets, done)
        assert decided.wait(20)
        assert len(answers) == 1
        return answers[0]

    def close(self, *, leave: bool = True) -> None:
        if not self._closed:
            self._closed = self._stopping = True
            self._thread.join(30)
            self.client.close(leave=leave)
