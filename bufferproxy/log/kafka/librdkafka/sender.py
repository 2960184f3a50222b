"""Records out through librdkafka's idempotent producer.

`send` hands a record to the library, whose threads do the rest. One thread of ours polls while a record is
undecided; that is where `landed` is called.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from bufferproxy.log.kafka.engine import Failure, Landed, SendClient, Trouble
from bufferproxy.log.kafka.librdkafka.errors import failure_of, made
from bufferproxy.records import Headers, Partition

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
"""That one poll waits for answers."""
REST_SECONDS = 2.0
"""Between two polls while nothing is undecided: errors of the client itself are told in a poll."""
PURGE_SECONDS = 2.0
"""That the library is given, at the end, to tell what it has thrown away."""
LEARNERS = 8
"""Topics that are asked for side by side."""
LEARN_PAUSE = 0.05
"""Until a topic that is not known is asked for again."""

_CLOSED = Failure(Trouble.UNSENT, "the client is closed")
_FULL = Failure(Trouble.UNSENT, "the client's queue is full")


class LibrdkafkaSender(SendClient):
    def __init__(self, settings: dict[str, Any], landed: Landed) -> None:
        self._landed = landed
        self._producer: Producer | None = made(Producer, {**settings, "error_cb": self._failed})
        # Each has one writer: the loop, and the thread.
        self._sent = self._decided = 0
        self._awake = threading.Event()
        self._ends_at: float | None = None
        self._thread = threading.Thread(
            target=self._poll, args=(self._producer,), name="bufferproxy-send", daemon=True
        )
        self._thread.start()

    def send(
        self,
        partition: Partition,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
        owner: Any,
    ) -> Failure | None:
        producer = self._producer
        if self.dead is not None or producer is None or self._ends_at is not None:
            return self.dead or _CLOSED
        try:
            producer.produce(
                partition.topic,
                value,
                key,
                partition.number,
                on_delivery=partial(self._delivered, owner),
                timestamp=timestamp_ms,
                headers=list(headers),
            )
        except BufferError:
            return _FULL
        except KafkaException as error:
            return failure_of(error.args[0], partition.topic)
        self._sent += 1
        if not self._awake.is_set():
            self._awake.set()
        return None

    # --- on the thread

    def _poll(self, producer: Producer) -> None:
        purged = False
        while True:
            if self._sent == self._decided:
                self._awake.clear()
                if self._sent == self._decided:
                    if self._ends_at is not None:
                        return
                    self._awake.wait(REST_SECONDS)
            ends_at = self._ends_at
            if ends_at is None:
                producer.poll(POLL_SECONDS)
                continue
            left = ends_at - time.monotonic()
            if left <= 0 and not purged:
                purged = True
                producer.purge(blocking=False)
            elif left <= -PURGE_SECONDS:
                return
            producer.poll(min(POLL_SECONDS, max(left, 0.01)))

    def _delivered(self, owner: Any, error: KafkaError | None, message: Message) -> None:
        self._decided += 1
        if error is None:
            offset = message.offset()
            self._landed(owner, -1 if offset is None else offset, None)
        else:
            self._landed(owner, -1, failure_of(error, message.topic()))

    def _failed(self, error: KafkaError) -> None:
        failure = failure_of(error)
        if failure.trouble is Trouble.AUTHENTICATION:
            self.complaint = failure.text
        if error.fatal() and self.dead is None:
            self.dead = failure
        else:
            logger.debug("producer: %s", error)

    # --- at the start and at the end

    def warm(self, topics: Collection[str], seconds: float) -> Mapping[str, Failure]:
        producer = self._producer
        if not topics or producer is None:
            return {}
        deadline = time.monotonic() + seconds
        with ThreadPoolExecutor(min(LEARNERS, len(topics)), "bufferproxy-warm") as pool:
            found = pool.map(partial(_learn, producer, deadline), topics)
            return {topic: failure for topic, failure in zip(topics, found, strict=True) if failure}

    def close(self, seconds: float) -> None:
        if self._ends_at is None:
            self._ends_at = time.monotonic() + seconds
            self._awake.set()
            self._thread.join(seconds + PURGE_SECONDS + 1)
            # With the last reference the library's threads end.
            self._producer = None


def _learn(producer: Producer, deadline: float, topic: str) -> Failure | None:
    """Once a topic is known the library keeps it so."""
    while True:
        left = max(deadline - time.monotonic(), 0.01)
        try:
            found = producer.list_topics(topic, left).topics.get(topic)
        except KafkaException as error:
            failure = failure_of(error.args[0], topic)
        else:
            if found is not None and found.error is None:
                return None
            error_ = KafkaError(KafkaError._UNKNOWN_TOPIC) if found is None else found.error
            failure = failure_of(error_, topic)
        passing = failure.trouble in (Trouble.MISSING, Trouble.PASSING)
        if not passing or time.monotonic() + LEARN_PAUSE > deadline:
            return failure
        time.sleep(LEARN_PAUSE)
