"""What a careful operator grants, and what is said when one right of it is missing. Kafka's own authorizer
decides."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from bufferproxy.clock import SystemClock
from bufferproxy.errors import AppendRefused, LogUnavailable, LogUnusable
from bufferproxy.log.contract import Keep, Topic
from bufferproxy.log.kafka import KafkaLog, KafkaOptions, open_kafka
from bufferproxy.records import Entry, Partition, Position
from bufferproxy.testing.log_world import Holding
from bufferproxy.testing.secured_broker import SecuredBroker, secured_broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from bufferproxy.log.contract import LogReader

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("client"), pytest.mark.timeout(120)]

GROUP = "p"
A, B = Topic("p.a.requests", 1, Keep(committed_by=GROUP)), Topic("p.b.requests", 1, Keep(committed_by=GROUP))
PLACES = {topic.name: Partition(topic.name, 0) for topic in (A, B)}
LEAST = [
    ("TOPIC", topic.name, right) for topic in (A, B) for right in ("READ", "WRITE", "DESCRIBE", "DELETE")
]
LEAST += [("GROUP", GROUP, "READ")]


@pytest.fixture(scope="module")
def kafka(jars: Path) -> Iterator[SecuredBroker]:
    with secured_broker(jars) as secured:
        for kind, name, right in LEAST:
            secured.grant(kind, name, right)
        yield secured


@pytest.fixture
def less(request: pytest.FixtureRequest, kafka: SecuredBroker) -> Iterator[tuple[str, str, str]]:
    """One right less than the least, while the test runs."""
    kafka.take(*request.param)
    yield request.param
    kafka.grant(*request.param)


@pytest.fixture
async def log(kafka: SecuredBroker) -> AsyncIterator[KafkaLog]:
    admin = await open_kafka(kafka.inner.bootstrap, SystemClock(), KafkaOptions(replication=1))
    await admin.ensure([A, B], create=True)
    await admin.close()
    log = await opened(kafka)
    yield log
    await log.close()


async def opened(kafka: SecuredBroker, password: str | None = None) -> KafkaLog:
    security = kafka.security() if password is None else kafka.security(password)
    options = KafkaOptions(replication=1, security=security, options={"session_timeout_ms": 3000})
    return await open_kafka(kafka.bootstrap, SystemClock(), options)


async def test_the_least_rights_are_enough(log: KafkaLog) -> None:
    await log.ensure([A, B], create=False)
    for place in PLACES.values():
        await log.append(place, Entry(None, b"v", ()))
    holding = Holding()
    readers = [await log.reader(GROUP, [topic.name], holding) for topic in (A, B)]
    await holding.until(lambda: len(holding.leases) == 2)
    for place, reader in zip(PLACES.values(), readers, strict=True):
        record = (await reader.fetch())[-1]
        epoch = holding.leases[place].epoch
        assert not await reader.commit({place: (epoch, reader.after(record))})
    lags = await log.lag(GROUP, list(PLACES))
    assert [lag.records for lag in lags.values()] == [0, 0]
    await log.trim()
    assert (await log.lag(GROUP, [A.name]))[PLACES[A.name]].start > 0
    await log.ping()
    assert log.warning == ""


@pytest.mark.parametrize("less", [("TOPIC", A.name, "WRITE")], indirect=True)
async def test_a_topic_that_may_not_be_written_is_refused_by_name_and_the_others_go_on(
    log: KafkaLog, less: tuple[str, str, str]
) -> None:
    await log.ensure([A, B], create=False)
    a, b = PLACES.values()
    with pytest.raises(AppendRefused, match=rf"{A.name}.*(?i:authoriz)"):
        await log.append(a, Entry(None, b"v", ()))
    for _ in range(20):
        with pytest.raises(AppendRefused, match=rf"{A.name}.*(?i:authoriz)"):
            await log.append(a, Entry(None, b"v", ()))
        assert isinstance(await log.append(b, Entry(None, b"v", ())), Position)
    assert log._outbox.replaced == 0, "the producer stays"
    assert A.name in log.warning
    await log.ping()


@pytest.mark.parametrize("less", [("TOPIC", A.name, "READ")], indirect=True)
async def test_a_topic_that_may_not_be_read_rests_and_the_others_go_on(
    log: KafkaLog, kafka: SecuredBroker, less: tuple[str, str, str]
) -> None:
    await log.ensure([A, B], create=False)
    holding, other = Holding(), Holding()
    denied = await log.reader(GROUP, [A.name], holding)
    reader = await log.reader(GROUP, [B.name], other)
    await other.until(lambda: len(other.leases) == 1)
    position = await log.append(PLACES[B.name], Entry(None, b"v", ()))
    await until_read(reader, position)
    await until(lambda: A.name in log.warning)
    await log.ping()
    kafka.grant(*less)
    position = await log.append(PLACES[A.name], Entry(None, b"v", ()))
    await until_read(denied, position)


@pytest.mark.parametrize("less", [("TOPIC", A.name, "DESCRIBE")], indirect=True)
async def test_a_topic_that_may_not_be_seen_is_not_said_to_be_missing(
    log: KafkaLog, kafka: SecuredBroker, less: tuple[str, str, str]
) -> None:
    for right in ("READ", "WRITE", "DELETE"):  # each of them implies DESCRIBE
        kafka.take("TOPIC", A.name, right)
    try:
        await log.ensure([A, B], create=False)
        described = await log.describe([A])
        assert described == [f"{A.name}: not authorized to look at it (DESCRIBE on the topic)"]
        with pytest.raises(AppendRefused, match=rf"{A.name}.*(?i:authoriz)"):
            await log.append(PLACES[A.name], Entry(None, b"v", ()))
        await log.append(PLACES[B.name], Entry(None, b"v", ()))
    finally:
        for right in ("READ", "WRITE", "DELETE"):
            kafka.grant("TOPIC", A.name, right)


@pytest.mark.parametrize("less", [("GROUP", GROUP, "READ")], indirect=True)
async def test_a_group_that_may_not_be_joined_is_named(log: KafkaLog, less: tuple[str, str, str]) -> None:
    await log.ensure([A, B], create=False)
    await log.reader(GROUP, [A.name], Holding())
    await until(lambda: bool(log._members[0].down))
    with pytest.raises(LogUnavailable, match=r"(?i)group.*authoriz"):
        await log.ping()


@pytest.mark.parametrize("less", [("TOPIC", A.name, "DELETE")], indirect=True)
async def test_what_may_not_be_trimmed_is_said_and_delivery_goes_on(
    log: KafkaLog, less: tuple[str, str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await log.ensure([A, B], create=False)
    holding = Holding()
    reader = await log.reader(GROUP, [A.name], holding)
    await holding.until(lambda: len(holding.leases) == 1)
    position = await log.append(PLACES[A.name], Entry(None, b"v", ()))
    await until_read(reader, position)
    place = PLACES[A.name]
    await reader.commit({place: (holding.leases[place].epoch, position.offset + 1)})
    with pytest.raises(LogUnavailable, match=r"deleting settled records.*(?i:authoriz)"):
        await log.trim()


async def test_a_topic_that_may_not_be_made_says_which_right_is_missing(
    log: KafkaLog, kafka: SecuredBroker
) -> None:
    kafka.grant("TOPIC", "p.c", "DESCRIBE")
    with pytest.raises(LogUnusable, match=r"p\.c is missing, and we are not authorized to make it \(CREATE"):
        await log.ensure([Topic("p.c", 1, Keep())], create=True)


async def test_a_wrong_password_is_said_to_be_one(kafka: SecuredBroker) -> None:
    with pytest.raises(LogUnavailable, match=r"(?i)authentication|wrong user name or password"):
        await opened(kafka, "wrong")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while True:
            if condition():
                return
            await asyncio.sleep(0.05)


async def until_read(reader: LogReader, position: Position) -> None:
    while True:
        try:
            records = await reader.fetch()
        except LogUnavailable:
            continue
        if any(record.position == position for record in records):
            return
