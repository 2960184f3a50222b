"""The log's contract on a real Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bufferproxy.clock import SystemClock
from bufferproxy.log.kafka import KafkaLog, KafkaOptions, open_kafka
from bufferproxy.testing.log_suite import LogSuite
from bufferproxy.testing.log_world import Backend

if TYPE_CHECKING:
    from bufferproxy.log.contract import Log
    from bufferproxy.testing.kafka_broker import Broker

pytestmark = pytest.mark.kafka


class KafkaBackend(Backend):
    exact_lag = False
    compacts = False  # Kafka compacts closed segments, minutes later

    def __init__(self, bootstrap: str) -> None:
        # A crashed reader's partitions are free after its session: a short one, since nothing here is slow.
        self._options = KafkaOptions(replication=1, options={"session_timeout_ms": 1500})
        self._bootstrap = bootstrap

    async def open(self) -> Log:
        return await open_kafka(self._bootstrap, SystemClock(), self._options)

    async def reopen(self, log: Log) -> Log:
        assert isinstance(log, KafkaLog)
        await log.abandon()
        again = await open_kafka(self._bootstrap, SystemClock(), self._options)
        await again.ensure(log.topics, create=False)
        return again

    async def trim(self, log: Log) -> None:
        assert isinstance(log, KafkaLog)
        await log.trim()


@pytest.mark.usefixtures("client")
class TestKafkaLog(LogSuite):
    @pytest.fixture
    def backend(self, kafka_broker: Broker) -> Backend:
        return KafkaBackend(kafka_broker.bootstrap)
