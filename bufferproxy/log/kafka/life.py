"""One kafka-python producer, from its making to its replacement, and records into its batches."""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from kafka import TopicPartition
from kafka.errors import IllegalStateError, KafkaError, MessageSizeTooLargeError, UnknownTopicOrPartitionError
from kafka.producer.producer_batch import ProducerBatch
from kafka.protocol.producer import ProduceRequest
from kafka.record.memory_records import MemoryRecordsBuilder

from bufferproxy.log.kafka.client import Client
from bufferproxy.log.kafka.options import Clients, describe
from bufferproxy.log.kafka.wire import record
from bufferproxy.records import Partition

logger = logging.getLogger(__name__)

IN_FLIGHT = 2
"""Requests under way to one broker. What is submitted meanwhile goes with the next one: so batches grow with
the load, and nothing needs to linger."""

OVERHEAD = 1024
"""Bytes of a request around a single record, at most, topic names of 249 bytes included."""

Landed = Callable[["Batch", int, "Callable[[int], Exception] | None"], None]
"""On the sender thread: a batch, the offset of its first record (-1: not known), and for a batch that failed
what failed of the nth record."""


class ProducerClient(Client):
    """Counts the produce requests that left for each partition (case 2 above), and keeps wake-ups back while
    the loop submits: `send` wakes the sender thread for every new batch, and each time the loop loses the
    interpreter to it. Measured: a third of all time. One wake-up for a turn of the loop does."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.sends: dict[tuple[str, int], int] = defaultdict(int)
        self.quiet = False
        self.wanted = False
        self._woken = 0

    def wakeup(self) -> None:
        if self.quiet:
            self.wanted = True
        else:
            self._woken += 1
            super().wakeup()

    def wake_if_wanted(self) -> None:
        if self.wanted:
            self.wanted = False
            self.wakeup()

    def poll(self, timeout_ms: float | None = None, future: Any = None) -> None:
        """The sender looks through all partitions whenever this returns, and the library returns at each
        piece of an answer. While one is awaited, this returns when there is something new to look for."""
        until = math.inf if timeout_ms is None else time.monotonic() + timeout_ms / 1000
        while True:
            before = self._news()
            left = None if until == math.inf else max(0.0, until - time.monotonic()) * 1000
            super().poll(timeout_ms=left, future=future)
            if future is not None or not before[0] or self._news() != before or time.monotonic() >= until:
                return

    def _news(self) -> tuple[int, int, int]:
        """Requests under way, connections, wake-ups: any answer, failure or new batch changes one of them."""
        connections = list(self._manager._conns.values())
        under_way = sum([len(each.in_flight_requests) for each in connections])
        return under_way, sum([each.connected for each in connections]), self._woken

    def send(self, node_id: Any, request: Any, **settings: Any) -> Any:
        if isinstance(request, ProduceRequest):
            for topic in request.topic_data:
                for partition in topic.partition_data:
                    self.sends[topic.name, partition.index] += 1
        return super().send(node_id, request, **settings)

    def is_ready(self, node_id: Any) -> bool:
        return self.in_flight_request_count(node_id) < IN_FLIGHT and bool(super().is_ready(node_id))

    def connection_delay(self, node_id: Any) -> float:
        """The sender waits this long, as milliseconds, for a node that is not ready. One that only has enough
        to do ends the wait with its answer; with the library's 0 the sender would spin until then."""
        busy = self.in_flight_request_count(node_id) >= IN_FLIGHT
        return 100.0 if busy else float(super().connection_delay(node_id))


class Life:
    """One kafka-python producer, from its making to its replacement."""

    def __init__(self, clients: Clients, landed: Landed) -> None:
        self.client: ProducerClient
        self.alone: set[str] = set()
        """Topics of which each record gets a batch of its own."""
        self.producer = clients.producer(kafka_client=self._client)
        self.producer.config["max_block_ms"] = 0
        self._landed = landed
        self._accumulator = self.producer._accumulator
        self._places: dict[Partition, TopicPartition] = {}
        # It would cut the batch in two and look for futures of its own in it.
        self.producer._sender._can_split = lambda batch, error: False

    def _client(self, **settings: Any) -> ProducerClient:
        self.client = ProducerClient(**settings)
        return self.client

    def warm(self, topics: list[str]) -> None:
        """Learns the topics' partitions. `send` finds them known, or it would have to wait for them: with
        the zero that stands here otherwise it fails instead."""
        self.producer.config["max_block_ms"] = 5000
        try:
            for topic in topics:  # of all at once, or each would wait for the answer to the one before
                self.producer._sender.add_topic(topic)
            for topic in topics:
                self.producer.partitions_for(topic)
        finally:
            self.producer.config["max_block_ms"] = 0

    def append(self, partition: Partition, time: int, rest: bytes, owner: Any) -> None:
        """A record to the open batch of its partition, or to a new one, on the loop. `rest`: wire.contents.
        Raises KafkaError: it is in none."""
        place = self._places.get(partition)
        if place is None:
            place = self._places[partition] = TopicPartition(*partition)
        accumulator = self._accumulator
        if partition.topic not in self.alone:
            with accumulator._tp_lock(place):
                waiting = accumulator._batches[place]
                if waiting and waiting[-1].add(time, rest, owner):
                    return
        if len(rest) + OVERHEAD > self.producer.config["max_request_size"]:
            raise MessageSizeTooLargeError(f"{len(rest)} bytes")
        self._begin(place, time, [rest], [owner])

    def append_together(self, partition: Partition, time: int, rests: list[bytes], owners: list[Any]) -> None:
        """As `append`, of several, in a batch that they begin: a broker stores all of it or nothing."""
        if partition.topic in self.alone and len(rests) > 1:
            raise MessageSizeTooLargeError(f"{len(rests)} records together")
        if sum(map(len, rests)) + OVERHEAD * len(rests) > self.producer.config["max_request_size"]:
            raise MessageSizeTooLargeError(f"{len(rests)} records of {sum(map(len, rests))} bytes together")
        self._begin(TopicPartition(*partition), time, rests, owners)

    def _begin(self, place: TopicPartition, time: int, rests: list[bytes], owners: list[Any]) -> None:
        if self.producer._metadata.partitions_for_topic(place.topic) is None:
            raise UnknownTopicOrPartitionError(place.topic)
        accumulator = self._accumulator
        settings = accumulator.config
        room = settings["batch_size"]
        if len(rests) > 1:
            room = max(room, sum(map(len, rests)) + OVERHEAD * len(rests))
        batch = Batch(
            place,
            MemoryRecordsBuilder(settings["message_version"], settings["compression_attrs"], room),
        )
        for rest, owner in zip(rests, owners, strict=True):
            batch.add(time, rest, owner)
        batch.produce_future.add_callback(lambda found: self._landed(batch, found[0], found[2]))
        batch.produce_future.add_errback(lambda error: self._landed(batch, -1, lambda _: error))
        # Who closes by force waits for those who append, or it would overlook this one.
        accumulator._appends_in_progress.increment()
        try:
            with accumulator._tp_lock(place):
                if self.producer._closed or accumulator._closed:
                    raise IllegalStateError("the producer is closed")
                accumulator._batches[place].append(batch)
                accumulator._incomplete.add(batch)
        finally:
            accumulator._appends_in_progress.decrement()
        self.client.wakeup()

    def close(self, seconds: float) -> None:
        try:
            self.producer.close(timeout=seconds)
        except KafkaError as error:
            # Its flush did not end in time, so it did not close. By force: what is left is failed at once.
            logger.warning("the producer is closed by force: %s", describe(error))
            self.producer._closed = True
            self.producer._sender.force_close()
            self.producer._sender.join(seconds + 1)


class Batch(ProducerBatch):  # type: ignore[misc]
    """kafka-python's, with our records in it, whose owners are told together. With its own it makes a future,
    three callbacks and a description for each record: 25 µs of the 57 that an append took."""

    def __init__(self, place: TopicPartition, records: MemoryRecordsBuilder) -> None:
        super().__init__(place, records)
        self.owners: list[Any] = []

    def add(self, time: int, rest: bytes, owner: Any) -> bool:
        """False: it is full, or on its way. As DefaultRecordBatchBuilder.append, and under the same lock."""
        records = self.records
        if records._closed:
            return False
        builder, offset = records._builder, records._next_offset
        if builder._first_timestamp is None:
            builder._first_timestamp = builder._max_timestamp = time
        encoded = record(time - builder._first_timestamp, offset, rest)
        if offset and len(builder._buffer) + len(encoded) > builder._batch_size:
            return False
        if time > builder._max_timestamp:
            builder._max_timestamp = time
        builder._num_records += 1
        builder._last_offset = offset
        builder._buffer += encoded
        records._next_offset = offset + 1
        self.owners.append(owner)
        return True
