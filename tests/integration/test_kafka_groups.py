"""Readers of one group come, go and freeze, with records in flight."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, cast

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import NodeNotReadyError
from kafka.structs import OffsetAndMetadata

from bufferproxy.clock import SystemClock
from bufferproxy.errors import LogUnavailable
from bufferproxy.log.contract import Keep, LogTail, Topic
from bufferproxy.log.kafka import KafkaLog, KafkaOptions, open_kafka
from bufferproxy.log.kafka.engine import Engine, FetchClient, Polled
from bufferproxy.log.kafka.reader import KafkaReader
from bufferproxy.records import Entry, Partition
from bufferproxy.testing.log_world import Holding, numbered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from bufferproxy.log.contract import LogReader
    from bufferproxy.records import Record
    from bufferproxy.testing.kafka_broker import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("client"), pytest.mark.timeout(120)]

PARTITIONS = 6


@pytest.fixture
def topic(request: pytest.FixtureRequest, client: str) -> str:
    return f"bufferproxy.{request.node.originalname}.{client}"


@pytest.fixture
async def log(kafka_broker: Broker, topic: str) -> AsyncIterator[KafkaLog]:
    options = KafkaOptions(replication=1, options={"session_timeout_ms": 2000})
    log = await open_kafka(kafka_broker.bootstrap, SystemClock(), options)
    await log.ensure([Topic(topic, PARTITIONS, Keep(committed_by=topic))], create=True)
    yield log
    await log.close()


class Worker:
    """Settles records some time after it has fetched them, out of step, and hands over cleanly."""

    def __init__(self, seen: list[tuple[str, Record]], name: str) -> None:
        self.name = name
        self.holding = Holding()
        self.holding.on_revoking = self._hand_over
        self._seen = seen
        self._unsettled: dict[Partition, Record] = {}
        self._reader: LogReader
        self._running: asyncio.Task[None]
        self._progress = asyncio.Event()

    async def start(self, log: KafkaLog, topic: str) -> None:
        self._reader = await log.reader(topic, [topic], self.holding)
        self._running = asyncio.create_task(self._work())

    async def _work(self) -> None:
        while True:
            for record in await self._reader.fetch():
                assert record.partition in self.holding.leases, "nothing comes without a lease"
                self._seen.append((self.name, record))
                self._unsettled[record.partition] = record
            self._progress.set()
            await asyncio.sleep(0.01)
            if len(self._unsettled) == len(self.holding.leases):
                await self._commit(list(self._unsettled)[::2])

    async def _hand_over(self, partitions: Collection[Partition]) -> None:
        await self._commit([p for p in partitions if p in self._unsettled])

    async def _commit(self, partitions: Collection[Partition]) -> None:
        settled = {p: self._unsettled.pop(p) for p in partitions if p in self._unsettled}
        offsets = {
            p: (self.holding.leases[p].epoch, self._reader.after(record)) for p, record in settled.items()
        }
        if not offsets:
            return
        try:
            await self._reader.commit(offsets)
        except asyncio.CancelledError:
            self._unsettled = {**settled, **self._unsettled}
            raise

    async def until_seen(self, count: int) -> None:
        """By all together; this one is the last to see any."""
        while len({record.position for _, record in self._seen}) < count:
            self._progress.clear()
            await self._progress.wait()

    async def stop(self) -> None:
        self._running.cancel()
        await asyncio.wait([self._running])
        await self._commit(list(self._unsettled))
        await self._reader.close()


async def test_a_rebalance_with_records_in_flight_skips_nothing_and_repeats_nothing(
    log: KafkaLog, topic: str
) -> None:
    """2 -> 3 -> 2 -> 1 readers under load. All of them hand over cleanly: each record comes exactly once."""
    seen: list[tuple[str, Record]] = []
    workers = [Worker(seen, name) for name in "abc"]
    sent: dict[Partition, list[bytes]] = defaultdict(list)

    async def append() -> None:
        for round_, value in enumerate(numbered(1200)):
            partition = Partition(topic, round_ % PARTITIONS)
            sent[partition].append(value)
            await log.append(partition, Entry(None, value, ()))

    appending = asyncio.create_task(append())
    for worker in workers[:2]:
        await worker.start(log, topic)
    await asyncio.gather(
        *[worker.holding.until(lambda w=worker: len(w.holding.leases) == 3) for worker in workers[:2]]
    )
    await workers[2].start(log, topic)
    await asyncio.gather(
        *[worker.holding.until(lambda w=worker: len(w.holding.leases) == 2) for worker in workers]
    )
    await workers[0].stop()
    await asyncio.gather(*[w.holding.until(lambda w=w: len(w.holding.leases) == 3) for w in workers[1:]])
    await workers[1].stop()
    await workers[2].holding.until(lambda: len(workers[2].holding.leases) == PARTITIONS)
    await appending
    await workers[2].until_seen(1200)
    received: dict[Partition, list[bytes]] = defaultdict(list)
    for _, record in seen:
        received[record.partition].append(record.value)
    assert not any("lost" in worker.holding.calls for worker in workers)
    assert received == sent, "each once, in order, over all hand-overs"
    assert len({name for name, _ in seen}) == 3
    await workers[2].stop()
    assert all(lag.records == 0 for lag in (await log.lag(topic, [topic])).values())


async def test_what_is_kept_over_a_rebalance_is_not_touched(log: KafkaLog, topic: str) -> None:
    holdings = [Holding(), Holding()]
    one = await log.reader(topic, [topic], holdings[0])
    await holdings[0].until(lambda: len(holdings[0].leases) == PARTITIONS)
    before = dict(holdings[0].leases)
    for number in range(PARTITIONS):
        await log.append(Partition(topic, number), Entry(None, b"in flight", ()))
    fetched: Counter[Partition] = Counter()
    while fetched.total() < PARTITIONS:
        fetched.update(record.partition for record in await one.fetch())
    await log.reader(topic, [topic], holdings[1])
    await asyncio.gather(*[h.until(lambda h=h: len(h.leases) == PARTITIONS // 2) for h in holdings])
    kept = holdings[0].leases
    assert kept.items() <= before.items(), "the same leases, epochs included"
    for partition in kept:
        await log.append(partition, Entry(None, b"next", ()))
    fetched.clear()
    while fetched.total() < len(kept):
        batch = await one.fetch()
        assert {record.value for record in batch} == {b"next"}, "nothing comes twice within a lease"
        fetched.update(record.partition for record in batch)


async def test_an_abandoned_member_is_told_that_it_has_lost_its_lease(
    log: KafkaLog, kafka_broker: Broker, topic: str
) -> None:
    """Somebody else takes the member out of the group: what it commits afterwards changes nothing."""
    holding = Holding()
    reader = await log.reader(topic, [topic], holding)
    await holding.until(lambda: len(holding.leases) == PARTITIONS)
    partition = Partition(topic, 0)
    await log.append(partition, Entry(None, b"x", ()))
    (record,) = await reader.fetch()
    former = holding.leases[partition]
    await asyncio.to_thread(expel_everybody, kafka_broker.bootstrap, topic)
    await holding.until(lambda: "lost" in holding.calls)
    refused = await reader.commit({partition: (former.epoch, reader.after(record))})
    assert set(refused) == {partition}
    assert (await log.lag(topic, [topic]))[partition].records == 1
    await holding.until(lambda: len(holding.leases) == PARTITIONS)
    assert holding.leases[partition].epoch > former.epoch
    assert [again.position for again in await reader.fetch()] == [record.position]


def expel_everybody(bootstrap: str, group: str) -> None:
    from kafka.admin import MemberToRemove

    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    members = admin.describe_groups([group])[group]["members"]
    admin.remove_group_members(group, [MemberToRemove(member_id=m["member_id"]) for m in members])
    admin.close()


async def test_a_static_member_that_closes_makes_room_at_once(kafka_broker: Broker, topic: str) -> None:
    """Its session of ten seconds is not waited for."""
    logs = [
        await open_kafka(
            kafka_broker.bootstrap, SystemClock(), KafkaOptions(replication=1, instance_id=f"worker-{number}")
        )
        for number in range(2)
    ]
    holdings = [Holding(), Holding()]
    readers = []
    for log, holding in zip(logs, holdings, strict=True):
        await log.ensure([Topic(topic, 2, Keep())], create=True)
        readers.append(await log.reader(topic, [topic], holding))
    await asyncio.gather(*[h.until(lambda h=h: len(h.leases) == 1) for h in holdings])
    await readers[0].close()
    async with asyncio.timeout(8):
        await holdings[1].until(lambda: len(holdings[1].leases) == 2)
    await readers[1].close()
    for log in logs:
        await log.close()


async def test_a_full_feed_stops_fetching_but_not_the_membership(log: KafkaLog, topic: str) -> None:
    partition = Partition(topic, 0)
    value = bytes(500_000)
    await asyncio.gather(*[log.append(partition, Entry(None, value, ())) for _ in range(80)])
    holding = Holding()
    reader = await log.reader(topic, [topic], holding)
    await holding.until(lambda: len(holding.leases) == PARTITIONS)
    other = Holding()
    # The rebalance needs the first one's poll thread, whose feed is full: nobody fetches.
    await log.reader(topic, [topic], other)
    await asyncio.gather(*[h.until(lambda h=h: len(h.leases) == PARTITIONS // 2) for h in (holding, other)])
    assert reader._fetcher._size < 48_000_000
    taken = 0
    while taken < 80 and partition in holding.leases:
        taken += len(await reader.fetch())
    assert taken in (0, 80)


async def test_a_join_that_takes_longer_than_a_poll_is_finished(
    log: KafkaLog, topic: str, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leader joins again because of new metadata, makes the assignment, and its poll runs out before the
    broker has answered that."""
    if client != "kafka-python":
        return  # its joins do not depend on polls
    holding, other = Holding(), Holding()
    reader = await log.reader(topic, [topic], holding)
    await holding.until(lambda: len(holding.leases) == PARTITIONS)
    coordinator, loop = coordinator_of(reader), asyncio.get_running_loop()
    send, answered = coordinator._manager.send, asyncio.Event()

    async def late(request: Any) -> Any:
        await coordinator._net.sleep(0.8)
        response = await send(request, node_id=coordinator.coordinator_id)
        loop.call_soon_threadsafe(answered.set)
        return response

    def sending(request: Any, **settings: Any) -> Any:
        if type(request).__name__ == "SyncGroupRequest" and not answered.is_set():
            return coordinator._manager.call_soon(late, request)
        return send(request, **settings)

    monkeypatch.setattr(coordinator._manager, "send", sending)
    coordinator._assignment_snapshot = {}  # as if the topic had been unknown when it was assigned
    await answered.wait()
    await log.reader(topic, [topic], other)
    await asyncio.gather(*[h.until(lambda h=h: len(h.leases) == PARTITIONS // 2) for h in (holding, other)])


async def test_what_came_after_kafka_lost_records_is_delivered_and_not_deleted(
    log: KafkaLog, kafka_broker: Broker, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As when the only disk of a partition is replaced: the group has committed what is no longer there."""
    partition = Partition(topic, 0)
    await log.append(partition, Entry(None, b"after", ()))
    await asyncio.to_thread(commit_beyond, kafka_broker.bootstrap, topic, partition, 1000)
    assert (await log.lag(topic, [topic]))[partition].records == 1, "it is not settled"
    holding = Holding()
    reader = await log.reader(topic, [topic], holding)
    await holding.until(lambda: len(holding.leases) == PARTITIONS)
    await log.trim()
    (record,) = await reader.fetch()
    assert record.value == b"after"
    assert f"{topic} 0: {topic} has committed 1000, and Kafka does not hold as many" in caplog.text
    refused = await reader.commit({partition: (holding.leases[partition].epoch, reader.after(record))})
    assert not refused
    lag = (await log.lag(topic, [topic]))[partition]
    assert (lag.start, lag.committed, lag.end) == (0, 1, 1), "nothing was trimmed, and the commit went back"


def commit_beyond(bootstrap: str, group: str, partition: Partition, offset: int) -> None:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    consumer.assign([TopicPartition(*partition)])
    consumer.commit({TopicPartition(*partition): OffsetAndMetadata(offset, "", -1)})
    consumer.close()


async def test_who_is_cut_off_from_the_coordinator_lets_go_before_others_have_its_partitions(
    log: KafkaLog, topic: str, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can read all there is still. Nobody tells it, for that is what it is cut off from."""
    if client != "kafka-python":
        return  # it lets go by itself when no heartbeat was answered for a session
    holding, other = Holding(), Holding()
    reader = await log.reader(topic, [topic], holding)
    await holding.until(lambda: len(holding.leases) == PARTITIONS)
    coordinator = coordinator_of(reader)
    send = coordinator._manager.send

    async def unanswered() -> None:
        await coordinator._net.sleep(1.0)
        raise NodeNotReadyError("cut off")

    def sending(request: Any, **settings: Any) -> Any:
        if type(request).__name__ in {"HeartbeatRequest", "JoinGroupRequest", "OffsetCommitRequest"}:
            return coordinator._manager.call_soon(unanswered)
        return send(request, **settings)

    with monkeypatch.context() as cut:
        cut.setattr(coordinator._manager, "send", sending)
        await log.reader(topic, [topic], other)
        await other.until(lambda: len(other.leases) == PARTITIONS)
        assert holding.leases == {}
    await asyncio.gather(*[h.until(lambda h=h: len(h.leases) == PARTITIONS // 2) for h in (holding, other)])


def coordinator_of(reader: KafkaReader) -> Any:
    return cast("Any", reader)._member._life.client._consumer._coordinator


class Deaf:
    """The first client that an engine makes hears nothing any more, once it is told so."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = 0
        self.now = False
        self._make = engine.fetcher
        monkeypatch.setattr(engine, "fetcher", self._fetcher)

    def _fetcher(self, *, wait: float) -> FetchClient:
        client = self._make(wait=wait)
        self.made += 1
        if self.made == 1:
            poll = client.poll

            def hear(seconds: float) -> Polled:
                polled = poll(seconds)
                return Polled() if self.now else polled

            cast("Any", client).poll = hear
        return client


async def test_a_reader_that_is_stuck_gets_another_client_and_keeps_its_leases(
    log: KafkaLog, topic: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bufferproxy.log.kafka.log.WATCH_SECONDS", 0.5)
    deaf = Deaf(log.engine, monkeypatch)
    partition, holding = Partition(topic, 0), Holding()
    reader = await log.reader(topic, [topic], holding)
    await holding.until(lambda: len(holding.leases) == PARTITIONS)
    await log.append(partition, Entry(None, b"before", ()))
    assert [record.value for record in await reader.fetch()] == [b"before"]
    deaf.now = True
    await log.append(partition, Entry(None, b"after", ()))
    (after,) = await _fetched(reader)
    assert after.value == b"after"
    assert f"nothing came of {partition}" in caplog.text
    assert holding.calls == ["granted"]
    assert not await reader.commit({partition: (holding.leases[partition].epoch, reader.after(after))})


async def test_a_tail_that_is_stuck_gets_another_client_and_goes_on_where_it_was(
    log: KafkaLog, topic: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bufferproxy.log.kafka.log.WATCH_SECONDS", 0.5)
    deaf = Deaf(log.engine, monkeypatch)
    partitions = [Partition(topic, number) for number in range(PARTITIONS)]
    tail = await log.tail(dict.fromkeys(partitions, 0))
    await log.append(partitions[0], Entry(None, b"before", ()))
    assert [record.value for record in await tail.fetch()] == [b"before"]
    deaf.now = True
    await log.append(partitions[0], Entry(None, b"after", ()))
    assert [record.value for record in await _fetched(tail)] == [b"after"]
    assert f"nothing came of {partitions[0]}" in caplog.text
    await log.append(partitions[1], Entry(None, b"elsewhere", ()))
    assert [record.value for record in await tail.fetch()] == [b"elsewhere"]
    assert deaf.made == 2


async def _fetched(reader: LogReader | LogTail) -> Sequence[Record]:
    while True:
        try:
            return await reader.fetch()
        except LogUnavailable:  # while there was no client
            await asyncio.sleep(0)
