"""Which engine drives Kafka."""

from __future__ import annotations

import importlib.util

from bufferproxy.errors import LogUnusable
from bufferproxy.log.kafka.engine import Engine
from bufferproxy.log.kafka.kafka_python.engine import KafkaPython
from bufferproxy.log.kafka.kafka_python.settings import Clients
from bufferproxy.log.kafka.options import KafkaOptions

PREFERRED = ("librdkafka", "kafka-python")
"""What `auto` takes: the first that is installed."""


def engine_of(brokers: str, options: KafkaOptions, clients: Clients) -> Engine:
    """Raises LogUnusable."""
    wanted = PREFERRED if options.client == "auto" else (options.client,)
    for name in wanted:
        if name == "kafka-python":
            return KafkaPython(clients)
        if importlib.util.find_spec("confluent_kafka") is not None:
            from bufferproxy.log.kafka.librdkafka.engine import Librdkafka  # noqa: PLC0415 - may be missing

            return Librdkafka(brokers, options)
    raise LogUnusable(
        "kafka.client: librdkafka is not installed: pip install 'bufferproxy[librdkafka]', or set "
        "kafka.client to kafka-python"
    )
