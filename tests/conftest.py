"""What all tests share: asyncio under anyio's plugin, a real Kafka where Java and Maven are, small worlds on
both logs, and how much of everything: what CI has time for, or the long run (`--long`)."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.kafka_broker import Broker, KafkaMissing, broker, kafka_jars
from bufferproxy.testing.world import LogPlace, World, kafka_place, sqlite_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


LONG_TIMEOUT_SECONDS = 3600
KAFKA = pytest.param("kafka", marks=pytest.mark.kafka)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long counts of the acceptance tests")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long run's counts need an hour where CI's need a minute; a hang is told from them in neither."""
    if config.getoption("--long"):
        for item in items:
            item.add_marker(pytest.mark.timeout(LONG_TIMEOUT_SECONDS), append=False)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


class ForeignBroker:
    """A Kafka that somebody else runs: it cannot be killed."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap


@pytest.fixture(scope="session")
def jars() -> Path:
    """Kafka's jars. Without Java or Maven the test is skipped; in CI it fails, lest nobody notices."""
    try:
        return kafka_jars()
    except KafkaMissing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no Kafka here: {missing}")


@pytest.fixture(scope="session")
def kafka_broker(request: pytest.FixtureRequest) -> Iterator[Broker | ForeignBroker]:
    """A running Kafka for the whole session: `.bootstrap`. Do not kill it: `fresh_broker` is for that.

    BUFFERPROXY_TEST_KAFKA=host:port uses another one.
    """
    foreign = os.environ.get("BUFFERPROXY_TEST_KAFKA")
    if foreign:
        yield ForeignBroker(foreign)
        return
    with broker(request.getfixturevalue("jars")) as running:
        yield running


@pytest.fixture
def fresh_broker(jars: Path) -> Iterator[Broker]:
    """A Kafka of the test's own, to kill, freeze and restart."""
    with broker(jars) as running:
        yield running


@pytest.fixture(params=["kafka-python", "librdkafka"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each engine in turn: `kafka.client: auto` takes it, in this process and in those that it starts."""
    monkeypatch.setattr("bufferproxy.log.kafka.choice.PREFERRED", (request.param,))
    monkeypatch.setenv("BUFFERPROXY__KAFKA__CLIENT", request.param)
    return str(request.param)


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--long"))


@pytest.fixture
def times(long: bool) -> Callable[[int, int], int]:
    """`times(10, 50)`: ten in CI, fifty in the long run."""
    return lambda ci, at_length: at_length if long else ci


@pytest.fixture(params=["sqlite", KAFKA])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> LogPlace:
    """Either log, empty. Kafka is the session's, with topics of the test's own."""
    if request.param == "sqlite":
        return sqlite_place(tmp_path / "data" / "log.db")
    return kafka_place(request.getfixturevalue("kafka_broker").bootstrap, f"t{uuid.uuid4().hex[:8]}")


@pytest.fixture
def world(tmp_path: Path, place: LogPlace) -> Iterator[World]:
    """A world on either log: `start` it."""
    with World(tmp_path, place) as world:
        yield world


@pytest.fixture
def sqlite_world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, sqlite_place(tmp_path / "data" / "log.db")) as world:
        yield world


@pytest.fixture
def kafka_world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """On the session's Kafka."""
    bootstrap = request.getfixturevalue("kafka_broker").bootstrap
    with World(tmp_path, kafka_place(bootstrap, f"t{uuid.uuid4().hex[:8]}")) as world:
        yield world
