"""What the clients are told, and how their errors become ours.

The deadlines fit together: a produce request is given 6 s, a record 8 s, and whoever waits for its
acceptance 9 s. Reconnects are tried at least every second, so that a broker that is back is found at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import MemberToRemove
from kafka.errors import AuthorizationError, BrokerResponseError, KafkaConfigurationError, KafkaError

from bufferproxy.errors import LogUnavailable, LogUnusable
from bufferproxy.log.kafka.client import Client

DELIVERY = 8.0
"""Seconds after which the producer gives a record up."""
REQUEST = 6.0
"""Seconds that one request to a broker may take."""
BOOTSTRAP = 8.0
"""Seconds that finding the first broker may take."""
POLL = 0.1
"""Seconds that one poll waits for records: the longest that a resume or a close waits for the poll thread."""
FETCHED = 500
"""The most records that one poll, and so one `fetch`, returns."""

_EVERYWHERE: Mapping[str, Any] = {
    "request_timeout_ms": int(REQUEST * 1000),
    "bootstrap_timeout_ms": int(BOOTSTRAP * 1000),
    "reconnect_backoff_max_ms": 1000,
    "retry_backoff_ms": 100,
    "metadata_max_age_ms": 30_000,
    "metrics_enabled": False,
}
_PRODUCER: Mapping[str, Any] = {
    "acks": "all",
    "enable_idempotence": True,
    # A record leaves at once, with all that was submitted in its turn of the loop; while a request is under
    # way others gather, see `_Client.is_ready`.
    "linger_ms": 0,
    # Below `max.message.bytes` of the smallest topic (128 KiB), or batches would be refused and split.
    "batch_size": 64 * 1024,
    # Just below what brokers take in one request. Each topic's own limit is checked before.
    "max_request_size": 95 << 20,
    "delivery_timeout_ms": int(DELIVERY * 1000),
    "allow_auto_create_topics": False,
}
_CONSUMER: Mapping[str, Any] = {
    "auto_offset_reset": "earliest",
    "enable_auto_commit": False,
    "allow_auto_create_topics": False,
    "max_poll_records": FETCHED,
    "max_poll_interval_ms": 45_000,
    "session_timeout_ms": 10_000,
    "fetch_max_wait_ms": int(POLL * 1000),
    "fetch_min_bytes": 1,
    "fetch_max_bytes": 8 << 20,
    "max_partition_fetch_bytes": 1 << 20,
}


_OWN = object()
"""What we pass ourselves, or leave as it is."""
_FIXED: Mapping[str, Any] = {
    **{name: _PRODUCER[name] for name in ("acks", "enable_idempotence")},
    **{name: _CONSUMER[name] for name in ("auto_offset_reset", "enable_auto_commit")},
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


@dataclass(frozen=True)
class KafkaOptions:
    """How this process presents itself to Kafka.

    `instance_id` makes it a static member of its groups: a restart within the session keeps its partitions.
    `shared`: other processes on this host may be given the same one, so each takes a number of its own.
    `security` and `options` are keyword arguments of kafka-python's clients; each goes to those that know it.
    """

    client_id: str = "bufferproxy"
    instance_id: str | None = None
    shared: bool = False
    replication: int = 3
    security: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


class Clients:
    """Makes clients. All of it blocks, and raises LogUnavailable when no broker answers."""

    def __init__(self, brokers: str, options: KafkaOptions) -> None:
        self.brokers = brokers
        self.options = options
        given = {**options.security, **options.options}
        known = {
            *KafkaProducer.DEFAULT_CONFIG,
            *KafkaConsumer.DEFAULT_CONFIG,
            *KafkaAdminClient.DEFAULT_CONFIG,
        }
        if unknown := sorted(set(given) - known):
            raise LogUnusable(f"kafka: options: kafka-python knows no {', '.join(unknown)}")
        if fixed := sorted(name for name in given if name in _FIXED and given[name] != _FIXED[name]):
            raise LogUnusable(
                f"kafka: options: {', '.join(fixed)} cannot be changed, promises rest on it: take it out"
            )
        self._given = given

    def producer(self, **more: Any) -> Any:
        return self._make(KafkaProducer, _PRODUCER, more)

    def consumer(self, *, group: str | None = None, **more: Any) -> Any:
        settings = self._settings(KafkaConsumer, _CONSUMER, more)
        if group is not None:
            settings["group_id"] = group
            # A member hears of a rebalance with its next heartbeat: the others wait for it until then.
            settings.setdefault(
                "heartbeat_interval_ms", max(100, min(1000, settings["session_timeout_ms"] // 4))
            )
            if self.options.instance_id is not None:
                settings["group_instance_id"] = self.options.instance_id
        return self._build(KafkaConsumer, settings)

    def admin(self) -> Any:
        return self._make(KafkaAdminClient, {}, {})

    def expel(self, group: str, instance: str) -> None:
        """Removes a static member from its group, so that others need not wait for its session to end."""
        admin = self.admin()
        try:
            with ours(f"leaving {group}"):
                admin.remove_group_members(group, [MemberToRemove(group_instance_id=instance)])
        finally:
            admin.close()

    @property
    def session(self) -> float:
        """Seconds without a heartbeat after which a member's partitions go to others."""
        return float(self._given.get("session_timeout_ms", _CONSUMER["session_timeout_ms"])) / 1000

    def _make(self, kind: Any, own: Mapping[str, Any], more: Mapping[str, Any]) -> Any:
        return self._build(kind, self._settings(kind, own, more))

    def _settings(self, kind: Any, own: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
        merged = {**_EVERYWHERE, **own, **self._given, **more}
        merged["bootstrap_servers"] = self.brokers.split(",")
        merged["client_id"] = self.options.client_id
        return {name: value for name, value in merged.items() if name in kind.DEFAULT_CONFIG}

    def _build(self, kind: Any, settings: Mapping[str, Any]) -> Any:
        made: list[Any] = []

        def client(**known: Any) -> Any:
            made.append(settings.get("kafka_client", Client)(**known))
            return made[-1]

        try:
            return kind(**{**settings, "kafka_client": client})
        except KafkaConfigurationError as error:
            raise LogUnusable(f"kafka: {error}") from error
        except Exception as error:
            for each in made:  # a constructor that fails leaves its I/O thread running
                with suppress(Exception):  # one that could not be started cannot be ended either
                    each.close()
            if not isinstance(error, KafkaError | OSError):
                raise
            raise LogUnavailable(
                f"no Kafka broker answers at {self.brokers} ({describe(error)}): "
                "check `log:` and that the brokers run, and `kafka: security:` if they want TLS or SASL"
            ) from error


@contextmanager
def ours(doing: str) -> Iterator[None]:
    """Turns what kafka-python raises into LogUnavailable."""
    try:
        yield
    # RuntimeError is what a client's closed or crashed I/O loop answers.
    except (KafkaError, OSError, RuntimeError) as error:
        raise LogUnavailable(f"{doing}: {describe(error)}") from error


def describe(error: BaseException) -> str:
    text = str(error)
    name = type(error).__name__
    return text if text.startswith(name) else f"{name}: {text}" if text else name


def passes(error: BaseException | None) -> bool:
    """Kafka's word that it will know better soon: an election, a coordinator that loads."""
    return isinstance(error, BrokerResponseError) and bool(error.retriable)


def forbids(error: BaseException | None) -> bool:
    """The broker's access lists do not let us."""
    return isinstance(error, AuthorizationError)
