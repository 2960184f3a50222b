"""Records out through kafka-python's idempotent producer."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from kafka.errors import KafkaError, KafkaTimeoutError, TopicAuthorizationFailedError

from bufferproxy.log.kafka.engine import Failure, Landed, SendClient, Trouble
from bufferproxy.log.kafka.kafka_python.errors import failure_of
from bufferproxy.log.kafka.kafka_python.private import Sending, never_sent
from bufferproxy.log.kafka.kafka_python.topics import TopicsAsked
from bufferproxy.records import Headers, Partition

WARM_PAUSE = 0.02
END_SECONDS = 1.0

_REFUSED = frozenset({Trouble.TOO_LARGE, Trouble.INVALID, Trouble.DENIED, Trouble.MISSING})


class KafkaPythonSender(SendClient):
    def __init__(self, producer: Any, cluster: Any, landed: Landed) -> None:
        self._producer = producer
        self._sending = Sending(producer, _of_the_record)
        self._cluster = cluster
        self._topics = TopicsAsked(cluster)
        self._known: set[str] = set()
        self._landed = landed

    def send(
        self,
        partition: Partition,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
        owner: Any,
    ) -> Failure | None:
        topic, number = partition
        try:
            future = self._producer.send(topic, value, key, list(headers), number, timestamp_ms)
        except KafkaTimeoutError as error:  # the topic is not known, and `max_block_ms` is 0
            unknown = Failure(Trouble.UNSENT, failure_of(error, topic).text, topic)
            return self._topics.failure(topic) or unknown
        except (KafkaError, ValueError, TypeError) as error:
            failure = failure_of(error, topic)
            if failure.trouble in _REFUSED:
                return failure
            self._cluster.request_update()  # the partition may be new
            return failure._replace(trouble=Trouble.UNSENT)
        future.add_both(self._decided, owner, topic)
        return None

    def _decided(self, owner: Any, topic: str, decision: Any) -> None:
        if isinstance(decision, BaseException):
            self._failed(owner, topic, decision)
        else:
            self._landed(owner, decision.offset, None)

    def _failed(self, owner: Any, topic: str, error: BaseException) -> None:
        failure = failure_of(error, topic)
        if self._sending.dead:
            failure = Failure(Trouble.FATAL, failure.text)
        elif never_sent(error):
            failure = failure._replace(trouble=Trouble.UNSENT)
        self._landed(owner, -1, failure)

    def warm(self, topics: Collection[str], seconds: float) -> Mapping[str, Failure]:
        deadline = time.monotonic() + seconds
        self._known.update(topics)
        self._topics.ask(self._known)
        wanted = set(topics)
        failures: dict[str, Failure] = {}
        while True:
            for topic in list(wanted):
                try:
                    self._producer.partitions_for(topic)
                except KafkaTimeoutError:  # it asks for it, and does not know it yet
                    failure = self._topics.failure(topic)
                    failures[topic] = failure or Failure(Trouble.PASSING, f"{topic}: nothing is known", topic)
                    if failure is None or failure.trouble is Trouble.MISSING:
                        continue  # one that was just made is found a little later
                except (KafkaError, ValueError) as error:
                    failures[topic] = failure_of(error, topic)
                else:
                    failures.pop(topic, None)
                wanted.discard(topic)
            if not wanted or time.monotonic() > deadline:
                return failures
            time.sleep(WARM_PAUSE)

    def close(self, seconds: float) -> None:
        try:
            self._producer.close(timeout=seconds)
        except KafkaTimeoutError:  # not all was decided in time, so it did not close
            self._sending.end(END_SECONDS)
            with suppress(KafkaError):
                self._producer.close(timeout=END_SECONDS)


def _of_the_record(error: BaseException) -> bool:
    """Others may be stored all the same."""
    failure = failure_of(error)
    if failure.trouble is Trouble.DENIED:
        return isinstance(error, TopicAuthorizationFailedError)
    return failure.trouble in _REFUSED
