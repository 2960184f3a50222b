"""How this process presents itself to Kafka, and the deadlines that both engines share.

The deadlines fit together: a produce request is given 6 s, a record 8 s, and whoever waits for its
acceptance 9 s. Reconnects are tried at least every second, so that a broker that is back is found at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bufferproxy.errors import LogUnusable

DELIVERY_SECONDS = 8.0
"""After which the producer gives a record up."""
REQUEST_SECONDS = 6.0
"""That one request to a broker may take."""
BOOTSTRAP_SECONDS = 8.0
"""That finding the first broker may take."""
SESSION_SECONDS = 10.0
"""Without a heartbeat, after which a member's partitions go to others. `session_timeout_ms` changes it."""

_OWN = object()
"""What we pass ourselves, or leave as it is."""
FIXED_OPTIONS: Mapping[str, Any] = {
    "acks": "all",
    "enable_idempotence": True,
    "auto_offset_reset": "earliest",
    "enable_auto_commit": False,
    **dict.fromkeys(
        (
            "bootstrap_servers",
            "client_id",
            "group_id",
            "group_instance_id",
            "kafka_client",
            "key_deserializer",
            "key_serializer",
            "partition_assignment_strategy",
            "partitioner",
            "transactional_id",
            "value_deserializer",
            "value_serializer",
        ),
        _OWN,
    ),
}
"""Option -> the one value that it may have: promises rest on it."""


@dataclass(frozen=True)
class KafkaOptions:
    """`instance_id` makes it a static member of its group: a restart within the session keeps its partitions.
    `shared`: other processes on this host may be given the same one, so each takes a number of its own.
    `client` is the engine: `auto`, `librdkafka` or `kafka-python`.
    `security` and `options` are written by kafka-python's names, whatever the engine."""

    client_id: str = "bufferproxy"
    instance_id: str | None = None
    shared: bool = False
    client: str = "auto"
    replication: int = 3
    security: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def refuse_fixed(given: Mapping[str, Any]) -> None:
    """Raises LogUnusable for options that cannot be changed."""
    if fixed := sorted(n for n in given if n in FIXED_OPTIONS and given[n] != FIXED_OPTIONS[n]):
        raise LogUnusable(
            f"kafka: options: {', '.join(fixed)} cannot be changed, promises rest on it: take it out"
        )
