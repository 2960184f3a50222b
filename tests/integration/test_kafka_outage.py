"""Kafka goes away, by every way it can, and comes back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bufferproxy.clock import SystemClock
from bufferproxy.errors import AppendRefused, AppendTooLarge, AppendUncertain, LogUnavailable
from bufferproxy.log.contract import Appended, Keep, Topic
from bufferproxy.log.kafka import KafkaLog, KafkaOptions, open_kafka
from bufferproxy.log.kafka.outbox import Known
from bufferproxy.records import Entry, Partition, Position, Record
from bufferproxy.testing.kafka_broker import Broker, free_ports
from bufferproxy.testing.log_world import Holding, Member, values

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("client"), pytest.mark.timeout(120)]

TOPIC = "bufferproxy.auth.requests"
OPTIONS = KafkaOptions(replication=1, options={"session_timeout_ms": 3000})


@pytest.fixture
async def log(fresh_broker: Broker) -> AsyncIterator[KafkaLog]:
    log = await open_kafka(fresh_broker.bootstrap, SystemClock(), OPTIONS)
    await log.ensure([Topic(TOPIC, 2, Keep(committed_by="bufferproxy.auth"))], create=True)
    yield log
    await log.close()


class Caller:
    """Appends numbered values one after the other, and knows what became of each."""

    def __init__(self, log: KafkaLog, partition: Partition) -> None:
        self.log = log
        self.partition = partition
        self.results: dict[bytes, Appended] = {}
        self.stored = asyncio.Event()
        self.submitted = 0
        self._decided = asyncio.Event()

    async def append(self, count: int, *, pace: float = 0.002) -> None:
        for _ in range(count):
            self.submit()
            await asyncio.sleep(pace)

    def submit(self) -> None:
        value = b"%06d" % self.submitted
        self.submitted += 1

        def done(result: Appended) -> None:
            assert value not in self.results, "decided once"
            self.results[value] = result
            self._decided.set()
            if isinstance(result, Position):
                self.stored.set()

        self.log.submit(self.partition, Entry(None, value, ()), done)

    async def until_stored_again(self) -> None:
        """Appends now and then until one is stored."""
        self.stored.clear()
        while not self.stored.is_set():
            self.submit()
            with_patience = asyncio.create_task(self.stored.wait())
            await asyncio.wait([with_patience], timeout=0.2)
            with_patience.cancel()

    async def all_decided(self) -> None:
        while len(self.results) < self.submitted:
            self._decided.clear()
            await self._decided.wait()

    def those(self, kind: type) -> set[bytes]:
        return {value for value, result in self.results.items() if isinstance(result, kind)}


async def everything(log: KafkaLog, partition: Partition) -> list[Record]:
    records: list[Record] = []
    while more := await log.read(Position(partition, records[-1].offset + 1 if records else 0), 1000):
        records.extend(more)
    return records


async def judge(caller: Caller) -> None:
    """Nothing acknowledged is lost or elsewhere, nothing refused is stored, nothing twice, all in order."""
    records = await everything(caller.log, caller.partition)
    stored = {record.value: record.position for record in records}
    assert len(stored) == len(records)
    assert values(records) == sorted(stored)
    acknowledged = {v: r for v, r in caller.results.items() if isinstance(r, Position)}
    assert acknowledged.items() <= stored.items()
    assert not caller.those(AppendRefused) & stored.keys()


async def test_nothing_acknowledged_is_lost_when_the_broker_is_killed_under_appends(
    fresh_broker: Broker, log: KafkaLog
) -> None:
    callers = [Caller(log, Partition(TOPIC, number)) for number in range(2)]
    appending = [asyncio.create_task(caller.append(600)) for caller in callers]
    await asyncio.gather(*[caller.stored.wait() for caller in callers])
    await asyncio.to_thread(fresh_broker.kill)
    await asyncio.to_thread(fresh_broker.start)
    await asyncio.gather(*appending)
    for caller in callers:
        async with asyncio.timeout(30):
            await caller.until_stored_again()
            await caller.all_decided()
        await judge(caller)


async def test_a_broker_that_stays_away_leaves_nobody_without_an_answer_and_comes_back(
    fresh_broker: Broker, log: KafkaLog
) -> None:
    caller = Caller(log, Partition(TOPIC, 0))
    await caller.until_stored_again()
    await caller.all_decided()
    stored = caller.those(Position)
    await asyncio.to_thread(fresh_broker.kill)
    await caller.append(20)
    async with asyncio.timeout(10):  # nobody waits longer for an answer
        await caller.all_decided()
    assert caller.those(Position) == stored
    assert caller.those(AppendUncertain) | caller.those(AppendRefused)
    await asyncio.to_thread(fresh_broker.start)
    async with asyncio.timeout(30):
        await caller.until_stored_again()
        await caller.all_decided()
    await judge(caller)


async def test_a_frozen_broker_leaves_nobody_without_an_answer_and_the_producer_recovers(
    fresh_broker: Broker, log: KafkaLog
) -> None:
    caller = Caller(log, Partition(TOPIC, 0))
    await caller.until_stored_again()
    fresh_broker.pause()
    await caller.append(20, pace=0.05)
    async with asyncio.timeout(10):
        await caller.all_decided()
    assert caller.those(AppendUncertain), "what was sent may be stored"
    fresh_broker.cont()
    async with asyncio.timeout(30):
        await caller.until_stored_again()
        await caller.all_decided()
    await judge(caller)


async def test_a_short_freeze_costs_nobody_an_append(fresh_broker: Broker, log: KafkaLog) -> None:
    caller = Caller(log, Partition(TOPIC, 0))
    await caller.until_stored_again()
    fresh_broker.pause()
    await caller.append(50, pace=0.02)
    fresh_broker.cont()
    async with asyncio.timeout(10):
        await caller.all_decided()
    assert len(caller.those(Position)) == caller.submitted
    await judge(caller)


async def test_a_stalled_broker_is_noticed_and_new_appends_are_refused_at_once(
    fresh_broker: Broker, log: KafkaLog
) -> None:
    caller = Caller(log, Partition(TOPIC, 0))
    await caller.until_stored_again()
    fresh_broker.pause()
    caller.submit()
    while not caller.those(AppendRefused):
        await caller.append(1, pace=0.1)
    refused = caller.those(AppendRefused)
    assert not caller.those(AppendUncertain), "long before the first one's deadline"
    fresh_broker.cont()
    async with asyncio.timeout(20):
        await caller.all_decided()
    assert caller.those(AppendRefused) >= refused
    await judge(caller)


async def test_a_reader_goes_on_by_itself_when_the_broker_is_back(
    fresh_broker: Broker, log: KafkaLog
) -> None:
    partition = Partition(TOPIC, 0)
    holding = Holding()
    member = Member(await log.reader("bufferproxy.auth", [TOPIC], holding), holding)
    await member.holds(2)
    caller = Caller(log, partition)
    await caller.until_stored_again()
    (first,) = await member.take(1)
    await member.commit(first)
    await asyncio.to_thread(fresh_broker.kill)
    with pytest.raises(LogUnavailable):
        await log.ping()
    await asyncio.to_thread(fresh_broker.start)
    async with asyncio.timeout(30):
        await caller.until_stored_again()
        await caller.all_decided()
    stored = sorted(caller.those(Position))
    received: list[bytes] = []
    async with asyncio.timeout(30):
        while stored[-1] not in received:
            try:
                received += values(await member.reader.fetch())
            except LogUnavailable:
                continue
    assert received == sorted(set(received)), "in order, nothing twice within a lease"
    assert set(received) >= set(stored[1:])
    await log.ping()


async def test_a_ping_of_a_frozen_broker_fails_within_three_seconds(
    fresh_broker: Broker, log: KafkaLog
) -> None:
    fresh_broker.pause()
    async with asyncio.timeout(3.5):
        with pytest.raises(LogUnavailable, match=fresh_broker.bootstrap):
            await log.ping()
    fresh_broker.cont()


async def test_a_record_that_the_broker_finds_too_large_is_refused_and_the_next_one_stored(
    fresh_broker: Broker, log: KafkaLog
) -> None:
    """The topic's own limit was lowered behind our back."""
    partition = Partition(TOPIC, 0)
    log._outbox.topics[TOPIC] = Known(2, 8 << 20, compact=False)
    with pytest.raises(AppendTooLarge):
        await log.append(partition, Entry(None, bytes(4 << 20), ()))
    caller = Caller(log, partition)
    async with asyncio.timeout(20):
        await caller.until_stored_again()
        await caller.all_decided()


async def test_records_that_are_too_large_only_together_are_stored_one_by_one(
    log: KafkaLog, client: str
) -> None:
    """A topic that takes less than a batch: kafka-python cuts it into halves, and librdkafka does not."""
    topic = f"{TOPIC}-small"
    await log.ensure([Topic(topic, 1, Keep(), max_bytes=1000)], create=True)  # Kafka's limit: 5 KB
    entry = Entry(None, bytes(900), ())
    partition = Partition(topic, 0)
    together = await asyncio.gather(
        *[log.append(partition, entry) for _ in range(20)], return_exceptions=True
    )
    refused = [each for each in together if not isinstance(each, Position)]
    assert all(type(each) is AppendRefused for each in refused), "none of them is too large alone"
    assert (len(refused) == 0) == (client == "kafka-python")
    for _ in refused:
        await log.append(partition, entry)
    assert (await log.lag("nobody", [topic]))[partition].end == 20


async def test_a_close_during_an_outage_decides_everything(fresh_broker: Broker) -> None:
    log = await open_kafka(fresh_broker.bootstrap, SystemClock(), OPTIONS)
    await log.ensure([Topic(TOPIC, 1, Keep())], create=True)
    caller = Caller(log, Partition(TOPIC, 0))
    await caller.until_stored_again()
    await asyncio.to_thread(fresh_broker.kill)
    await caller.append(5)
    async with asyncio.timeout(25):
        await log.close()
    assert len(caller.results) == caller.submitted


async def test_an_unreachable_broker_is_told_with_its_address() -> None:
    address = f"127.0.0.1:{free_ports().clients}"
    async with asyncio.timeout(10):
        with pytest.raises(LogUnavailable, match=address):
            await open_kafka(address, SystemClock())
