"""Records in through librdkafka, from given offsets on."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from bufferproxy.log.kafka.engine import FETCHED, ClientFailed, Failure, FetchClient, Polled, Trouble
from bufferproxy.log.kafka.librdkafka.errors import failed, failure_of, fatal, made
from bufferproxy.records import Headers, Partition, Record

DOUBT_SECONDS = 1.0
"""After which a topic of which nothing came, not even an end, is asked for."""
DOUBT_AGAIN_SECONDS = 5.0
ASK_SECONDS = 0.5
"""That the answer may take."""


class LibrdkafkaFetcher(FetchClient):
    def __init__(self, settings: dict[str, Any]) -> None:
        self._errors: list[Failure] = []
        self._consumer: Consumer = made(Consumer, {**settings, "error_cb": self._failed})
        self._positions: dict[Partition, int] = {}
        self._partitions: dict[tuple[str | None, int | None], Partition] = {}
        """One object a partition: what is compared often is compared by identity."""
        self._doubtful: dict[str | None, float] = {}
        """Topics of which nothing came yet, and when they are asked for: the library waits for a topic that
        is missing, and says nothing."""

    def begin(self, offsets: Mapping[Partition, int]) -> None:
        if not offsets:
            return
        self.end([partition for partition in offsets if partition in self._positions])
        self._positions.update(offsets)
        self._partitions.update({(p.topic, p.number): p for p in offsets})
        doubts_at = time.monotonic() + DOUBT_SECONDS
        self._doubtful.update({partition.topic: doubts_at for partition in offsets})
        places = [TopicPartition(*partition, offset) for partition, offset in offsets.items()]
        with fatal("reading partitions"):
            self._consumer.incremental_assign(places)

    def end(self, partitions: Collection[Partition]) -> None:
        ended = [p for p in partitions if self._positions.pop(p, None) is not None]
        for partition in ended:
            self._partitions.pop((partition.topic, partition.number), None)
        if ended:
            left = {partition.topic for partition in self._positions}
            for topic in {partition.topic for partition in ended} - left:
                self._doubtful.pop(topic, None)
            with fatal("leaving partitions"):
                self._consumer.incremental_unassign(_places(ended))

    def pause(self, partitions: Collection[Partition]) -> None:
        with fatal("pausing"):
            self._consumer.pause(_places(partitions))

    def resume(self, partitions: Collection[Partition]) -> None:
        with fatal("resuming"):
            self._consumer.resume(_places(partitions))

    def poll(self, seconds: float) -> Polled:
        with fatal("polling"):
            first = self._consumer.poll(seconds)
            messages = [] if first is None else [first, *self._consumer.consume(FETCHED - 1, 0)]
        if self._doubtful:
            self._resolve_doubts(messages)
        polled = self._polled(messages)
        for failure in polled.failures:
            if failure.trouble is Trouble.FATAL:
                raise ClientFailed(failure)
        return polled

    def _polled(self, messages: Sequence[Message]) -> Polled:
        records: list[Record] = []
        positions, partitions = self._positions, self._partitions
        for message in messages:
            partition = partitions.get((message.topic(), message.partition()))
            error = message.error()
            if error is not None:
                self._note(error, message.topic(), partition, message.offset())
            elif partition is not None:
                record = _record(partition, message)
                positions[partition] = record.offset + 1
                records.append(record)
        failures, self._errors = self._errors, []
        return Polled(records, failures)

    def _resolve_doubts(self, messages: Sequence[Message]) -> None:
        for topic in {message.topic() for message in messages}:
            self._doubtful.pop(topic, None)
        now = time.monotonic()
        for topic in [topic for topic, at in self._doubtful.items() if at <= now and topic is not None]:
            self._doubtful[topic] = now + DOUBT_AGAIN_SECONDS
            try:
                error = self._consumer.list_topics(topic, ASK_SECONDS).topics[topic].error
            except KafkaException:
                return  # no broker answers: later
            if error is None:
                del self._doubtful[topic]
            else:
                self._errors.append(failure_of(error, topic))

    def _note(
        self, error: KafkaError, topic: str | None, partition: Partition | None, offset: int | None
    ) -> None:
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            if partition is not None and offset is not None:
                self._positions[partition] = max(self._positions[partition], offset)
        elif topic is not None:
            # It may have been ended meanwhile.
            if partition is not None:
                self._errors.append(failure_of(error, topic))
        elif code != KafkaError.GROUP_AUTHORIZATION_FAILED:
            # It is in no group, whatever it must be given as one's name.
            self._errors.append(failure_of(error))

    def position(self, partition: Partition) -> int:
        return self._positions[partition]

    def bounds(self, partition: Partition, seconds: float) -> tuple[int, int]:
        doing = f"asking how far {partition} goes"
        try:
            found = self._consumer.get_watermark_offsets(TopicPartition(*partition), seconds, cached=False)
        except KafkaException as error:
            raise failed(error, doing, partition.topic) from error
        if found is None:
            text = f"{doing}: no answer in {seconds:g} s"
            raise ClientFailed(Failure(Trouble.PASSING, text, partition.topic))
        return found

    def close(self) -> None:
        self._consumer.close()

    def _failed(self, error: KafkaError) -> None:
        """Of a broker that is away others know more: it concerns us when all are."""
        failure = failure_of(error)
        if (
            failure.trouble in (Trouble.FATAL, Trouble.AUTHENTICATION)
            or error.code() == KafkaError._ALL_BROKERS_DOWN
        ):
            self._errors.append(failure)


def _places(partitions: Collection[Partition]) -> list[TopicPartition]:
    return [TopicPartition(*partition) for partition in partitions]


def _record(partition: Partition, message: Message) -> Record:
    kind, moment = message.timestamp()
    return Record(
        partition,
        message.offset() or 0,
        message.key(),
        message.value() or b"",
        _headers(message.headers()),
        0.0 if kind == TIMESTAMP_NOT_AVAILABLE else moment / 1000,
    )


def _headers(headers: Any) -> Headers:
    if not headers:
        return ()
    return tuple([(name, b"" if value is None else value) for name, value in headers])
