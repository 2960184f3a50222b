"""Settings of librdkafka's clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bufferproxy.log.kafka.librdkafka.translation import OF_CONSUMERS, OF_PRODUCERS, translated
from bufferproxy.log.kafka.options import DELIVERY_SECONDS, REQUEST_SECONDS, SESSION_SECONDS, KafkaOptions

_COMMON: Mapping[str, Any] = {
    "socket.timeout.ms": int(REQUEST_SECONDS * 1000),
    "socket.connection.setup.timeout.ms": int(REQUEST_SECONDS * 1000),
    "reconnect.backoff.max.ms": 1000,
    "topic.metadata.refresh.interval.ms": 30_000,
    # A topic that brokers do not know is missing at once; whoever wants it asks again.
    "topic.metadata.propagation.max.ms": 0,
    "allow.auto.create.topics": False,
    # A request leaves at once: Nagle's algorithm would hold it for the answer to the one before.
    "socket.nagle.disable": True,
    "log.connection.close": False,
}
_PRODUCER: Mapping[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    # A record leaves with what was submitted in the same turn of the loop; while a request is under way
    # others gather: so batches grow with the load.
    "linger.ms": 0.5,
    "max.in.flight.requests.per.connection": 2,
    # Below `max.message.bytes` of the smallest topic (128 KiB), or batches would be refused.
    "batch.size": 96 * 1024,
    "message.max.bytes": 95 << 20,
    "delivery.timeout.ms": int(DELIVERY_SECONDS * 1000),
    # The outbox has a budget of its own, below these.
    "queue.buffering.max.messages": 1_000_000,
    "queue.buffering.max.kbytes": 256 << 10,
}
_CONSUMER: Mapping[str, Any] = {
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
}
_MEMBER: Mapping[str, Any] = {
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": int(SESSION_SECONDS * 1000),
    "max.poll.interval.ms": 60_000,
    # A topic that was missing is found so soon.
    "topic.metadata.refresh.interval.ms": 10_000,
}
_FETCHER: Mapping[str, Any] = {
    # The library wants a group for each consumer. This one is never joined, and nothing is committed to it.
    "group.id": "bufferproxy-fetches",
    "check.crcs": True,
    # The end of a partition tells how far it goes, past what compaction took away.
    "enable.partition.eof": True,
    "queued.min.messages": 4000,
    "queued.max.messages.kbytes": 8 << 10,
    "fetch.queue.backoff.ms": 5,
    "fetch.error.backoff.ms": 200,
    "fetch.max.bytes": 8 << 20,
    "max.partition.fetch.bytes": 1 << 20,
    # A record may be larger than a fetch asks for: it comes alone.
    "receive.message.max.bytes": 128 << 20,
}


class Settings:
    """Makes the settings of each kind of client. Raises LogUnusable for options that cannot work."""

    def __init__(self, brokers: str, options: KafkaOptions) -> None:
        self.brokers = brokers
        self.options = options
        self._given = translated({**options.security, **options.options})

    @property
    def session(self) -> float:
        """Seconds without a heartbeat after which a member's partitions go to others."""
        return float(self._given.get("session.timeout.ms", SESSION_SECONDS * 1000)) / 1000

    def producer(self) -> dict[str, Any]:
        return self._merged(_PRODUCER, but=OF_CONSUMERS)

    def member(self, group: str) -> dict[str, Any]:
        more: dict[str, Any] = {
            "group.id": group,
            # A member hears of a rebalance with its next heartbeat: the others wait for it until then.
            "heartbeat.interval.ms": max(100, min(1000, int(self.session * 250))),
        }
        if self.options.instance_id is not None:
            more["group.instance.id"] = self.options.instance_id
        found = self._merged({**_CONSUMER, **_MEMBER, **more}, but=OF_PRODUCERS)
        found["max.poll.interval.ms"] = max(
            int(found["max.poll.interval.ms"]), int(found["session.timeout.ms"])
        )
        return found

    def fetcher(self, wait: float) -> dict[str, Any]:
        found = self._merged({**_CONSUMER, **_FETCHER}, but=OF_PRODUCERS)
        # The library insists on the first.
        found["message.max.bytes"] = found["fetch.max.bytes"]
        found["fetch.wait.max.ms"] = max(0, int(wait * 1000))
        return found

    def _merged(self, own: Mapping[str, Any], *, but: tuple[str, ...]) -> dict[str, Any]:
        """`but`: how the names begin of what only other clients know."""
        given = {name: value for name, value in self._given.items() if not name.startswith(but)}
        return {
            **_COMMON,
            **own,
            **given,
            "bootstrap.servers": self.brokers,
            "client.id": self.options.client_id,
        }
