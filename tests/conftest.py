"""What all tests share: asyncio under anyio's plugin, and a real Kafka where Java and Maven are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.kafka_broker import Broker, KafkaMissing, broker, kafka_jars

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long counts of the acceptance tests")


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
