"""Makes kafka-python's clients."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import MemberToRemove
from kafka.errors import KafkaConfigurationError, KafkaError
from kafka.net.compat import KafkaNetClient

from bufferproxy.errors import LogUnusable
from bufferproxy.log.kafka.engine import FETCHED, ClientFailed
from bufferproxy.log.kafka.kafka_python.errors import failure_of, ours
from bufferproxy.log.kafka.options import (
    BOOTSTRAP_SECONDS,
    DELIVERY_SECONDS,
    REQUEST_SECONDS,
    SESSION_SECONDS,
    KafkaOptions,
    refuse_fixed,
)

_EVERYWHERE: Mapping[str, Any] = {
    "request_timeout_ms": int(REQUEST_SECONDS * 1000),
    "bootstrap_timeout_ms": int(BOOTSTRAP_SECONDS * 1000),
    "reconnect_backoff_max_ms": 1000,
    "retry_backoff_ms": 100,
    "metadata_max_age_ms": 30_000,
    "metrics_enabled": False,
}
_PRODUCER: Mapping[str, Any] = {
    "acks": "all",
    "enable_idempotence": True,
    "linger_ms": 0,
    # Below `max.message.bytes` of the smallest topic (128 KiB), or batches would be refused and split.
    "batch_size": 64 * 1024,
    # Just below what brokers take in one request. Each topic's own limit is checked before.
    "max_request_size": 95 << 20,
    "delivery_timeout_ms": int(DELIVERY_SECONDS * 1000),
    "allow_auto_create_topics": False,
    # `send` on the event loop must never wait: a topic that is not known yet fails at once.
    "max_block_ms": 0,
}
_CONSUMER: Mapping[str, Any] = {
    "auto_offset_reset": "earliest",
    "enable_auto_commit": False,
    "allow_auto_create_topics": False,
    "max_poll_records": FETCHED,
    "max_poll_interval_ms": 60_000,
    "session_timeout_ms": int(SESSION_SECONDS * 1000),
    "fetch_min_bytes": 1,
    # A poll takes all of an answer at once, so it is not to hold too many. (Larger records come alone.)
    "fetch_max_bytes": 1 << 20,
    "max_partition_fetch_bytes": 512 << 10,
}


class Made(NamedTuple):
    """A client, and the KafkaNetClient that was made for it."""

    client: Any
    net: Any


CLUSTER_SECONDS = 2
"""That each broker named is given to say which cluster it is of."""


class Clients:
    """All of it blocks. Raises LogUnusable for options that are not known, ClientFailed when no broker can be
    used."""

    def __init__(self, brokers: str, options: KafkaOptions) -> None:
        self.brokers = brokers
        self.options = options
        given = {**options.security, **options.options}
        refuse_fixed(given)
        known = {
            *KafkaProducer.DEFAULT_CONFIG,
            *KafkaConsumer.DEFAULT_CONFIG,
            *KafkaAdminClient.DEFAULT_CONFIG,
        }
        if unknown := sorted(set(given) - known):
            raise LogUnusable(f"kafka: options: kafka-python knows no {', '.join(unknown)}")
        self._given = given

    @property
    def session(self) -> float:
        """Seconds without a heartbeat after which a member's partitions go to others."""
        return float(self._given.get("session_timeout_ms", SESSION_SECONDS * 1000)) / 1000

    def producer(self) -> Made:
        return self._build(KafkaProducer, self._settings(KafkaProducer, _PRODUCER, {}))

    def member(self, group: str, assignor: Any) -> Made:
        # A member hears of a rebalance with its next heartbeat: the others wait for it until then.
        beat = self._given.get("heartbeat_interval_ms", max(100, min(1000, int(self.session * 250))))
        more = {
            "group_id": group,
            "group_instance_id": self.options.instance_id,
            "heartbeat_interval_ms": beat,
            "partition_assignment_strategy": [assignor],
        }
        settings = self._settings(KafkaConsumer, _CONSUMER, more)
        settings["max_poll_interval_ms"] = max(
            settings["max_poll_interval_ms"], settings["session_timeout_ms"] + 1
        )
        return self._build(KafkaConsumer, settings)

    def fetcher(self, wait: float) -> Made:
        more = {"fetch_max_wait_ms": max(0, int(wait * 1000))}
        return self._build(KafkaConsumer, self._settings(KafkaConsumer, _CONSUMER, more))

    def admin(self) -> Any:
        """Raises LogUnavailable."""
        with ours("connecting"):
            return self._build(KafkaAdminClient, self._settings(KafkaAdminClient, {}, {})).client

    def one_cluster(self) -> None:
        """Raises LogUnusable when the brokers that are named belong to several clusters: some clients would
        write to one, and others read from another. Those that do not answer soon are left out."""
        named = self.brokers.split(",")
        if len(named) == 1:
            return
        with ThreadPoolExecutor(len(named)) as threads:
            found = dict(zip(named, threads.map(self._cluster_of, named), strict=True))
        known = {broker: cluster for broker, cluster in found.items() if cluster is not None}
        if len(set(known.values())) > 1:
            told = ", ".join(f"{broker} is of {cluster}" for broker, cluster in known.items())
            raise LogUnusable(
                f"log: the brokers belong to several Kafka clusters ({told}): name those of one"
            )

    def _cluster_of(self, broker: str) -> str | None:
        settings = self._settings(KafkaAdminClient, {}, {"bootstrap_timeout_ms": CLUSTER_SECONDS * 1000})
        try:
            admin = self._build(KafkaAdminClient, {**settings, "bootstrap_servers": [broker]}).client
        except ClientFailed:
            return None
        try:
            return str(admin.describe_cluster()["cluster_id"])
        except (KafkaError, OSError, RuntimeError, KeyError):
            return None
        finally:
            admin.close()

    def expel(self, group: str, instance: str) -> None:
        """Removes a static member from its group, so that others need not wait for its session to end."""
        admin = self.admin()
        try:
            with ours(f"leaving {group}"):
                admin.remove_group_members(group, [MemberToRemove(group_instance_id=instance)])
        finally:
            admin.close()

    def _settings(self, kind: Any, own: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
        merged = {**_EVERYWHERE, **own, **self._given, **more}
        merged["bootstrap_servers"] = self.brokers.split(",")
        merged["client_id"] = self.options.client_id
        return {name: value for name, value in merged.items() if name in kind.DEFAULT_CONFIG}

    def _build(self, kind: Callable[..., Any], settings: Mapping[str, Any]) -> Made:
        made: list[Any] = []
        heard = _LastWords()

        def client(**known: Any) -> Any:
            made.append(KafkaNetClient(**known))
            return made[-1]

        try:
            with heard:
                return Made(kind(**{**settings, "kafka_client": client}), made[-1])
        except KafkaConfigurationError as error:
            raise LogUnusable(f"kafka: {error}") from error
        except Exception as error:
            for each in made:  # a constructor that fails leaves its I/O thread running
                with suppress(Exception):  # one that could not be started cannot be ended either
                    each.close()
            if not isinstance(error, KafkaError | OSError):
                raise
            failure = failure_of(error)
            why = heard.cause or failure.text
            if "disconnected" in why and "sasl_mechanism" in self._given:
                why += "; a broker also hangs up on a wrong user name or password"
            text = (
                f"no Kafka broker answers at {self.brokers} ({why}): check `log:` and that the "
                "brokers run, and `kafka: security:` if they want TLS or SASL"
            )
            raise ClientFailed(failure._replace(text=text)) from error


class _LastWords(logging.Handler):
    """Hears why connections fail while a client is made: what the library raises then is a time-out."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.cause = ""

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if "Authentication" in said or "SSL" in said or not self.cause:
            self.cause = said.rpartition("Connection lost: ")[2]

    def __enter__(self) -> None:
        logging.getLogger("kafka.net.connection").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("kafka.net.connection").removeHandler(self)
