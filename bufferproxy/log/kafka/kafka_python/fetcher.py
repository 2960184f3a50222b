"""Records in through kafka-python, from given offsets on.

3.0.12 sets what is left of a fetch aside when its partition is paused, and may never come back to it once it
is resumed: then the partition is neither read on nor fetched again. So nothing is ever left of a fetch: each
poll takes all there is, and what is too much for one poll waits here.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from bufferproxy.log.kafka.engine import FETCHED, ClientFailed, Failure, FetchClient, Polled, Trouble
from bufferproxy.log.kafka.kafka_python.errors import failure_of
from bufferproxy.log.kafka.kafka_python.topics import TopicsAsked
from bufferproxy.records import Partition, Record

ALL_RECORDS = 1 << 30
FAILED_PAUSE = 0.1
"""Seconds until the library is asked again after it failed at once."""
POSITION_MILLISECONDS = 1000
CLOSE_MILLISECONDS = 1000


class KafkaPythonFetcher(FetchClient):
    def __init__(self, consumer: Any, cluster: Any) -> None:
        self._consumer = consumer
        self._topics = TopicsAsked(cluster)
        self._reading: dict[TopicPartition, Partition] = {}
        self._paused: set[TopicPartition] = set()
        self._fetched: dict[TopicPartition, list[Any]] = {}
        """And not returned yet, in order. The first partition has waited for longest."""

    def begin(self, offsets: Mapping[Partition, int]) -> None:
        if not offsets:
            return
        places = {TopicPartition(*partition): partition for partition in offsets}
        self._reading.update(places)
        self._assign()
        for place, partition in places.items():
            self._fetched.pop(place, None)
            self._consumer.seek(place, offsets[partition])
        self.resume(offsets.keys())

    def end(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            place = TopicPartition(*partition)
            self._reading.pop(place, None)
            self._paused.discard(place)
            self._fetched.pop(place, None)
        self._assign()

    def _assign(self) -> None:
        """What stays keeps its position, and whether it is paused."""
        self._consumer.assign(list(self._reading))
        self._topics.ask({place.topic for place in self._reading})

    def pause(self, partitions: Collection[Partition]) -> None:
        places = {TopicPartition(*p) for p in partitions} & self._reading.keys()
        self._paused |= places
        self._consumer.pause(*places)

    def resume(self, partitions: Collection[Partition]) -> None:
        places = {TopicPartition(*p) for p in partitions} & self._paused
        self._paused -= places
        self._consumer.resume(*places)

    def poll(self, seconds: float) -> Polled:
        if not self._reading:
            return Polled()
        if records := self._take():
            return Polled(records)
        began = time.monotonic()
        try:
            found = self._consumer.poll(timeout_ms=int(seconds * 1000), max_records=ALL_RECORDS)
        except KafkaError as error:
            time.sleep(max(0.0, min(FAILED_PAUSE, began + seconds - time.monotonic())))
            return Polled((), self._failures(error))
        except (OSError, RuntimeError) as error:  # its I/O loop has crashed
            failure = failure_of(error, doing="fetching")
            raise ClientFailed(failure._replace(trouble=Trouble.FATAL)) from error
        for place, records in found.items():
            if place in self._reading:
                self._fetched.setdefault(place, []).extend(records)
        return Polled(self._take(), self._topics.news())

    def _take(self) -> list[Record]:
        """Of what was fetched and may be returned, as much as one poll may return."""
        if not self._fetched:
            return []
        taken: list[Record] = []
        for place in [place for place in self._fetched if place not in self._paused]:
            found = self._fetched.pop(place)
            room = FETCHED - len(taken)
            partition = self._reading[place]
            taken += [_record(partition, each) for each in found[:room]]
            if len(found) > room:
                self._fetched[place] = found[room:]
            if len(taken) >= FETCHED:
                break
        return taken

    def _failures(self, error: KafkaError) -> list[Failure]:
        """One for each topic that it names."""
        named = error.args[0] if error.args else ()
        names = {named} if isinstance(named, str) else set(named) if isinstance(named, set | list) else set()
        topics = names & {place.topic for place in self._reading}
        if topics:
            return [failure_of(error, topic) for topic in sorted(topics)]
        return [failure_of(error, doing="fetching")]

    def position(self, partition: Partition) -> int:
        place = TopicPartition(*partition)
        if waiting := self._fetched.get(place):
            return int(waiting[0].offset)
        try:
            return int(self._consumer.position(place, timeout_ms=POSITION_MILLISECONDS) or 0)
        except (KafkaError, OSError, RuntimeError) as error:
            raise ClientFailed(failure_of(error, partition.topic)) from error

    def bounds(self, partition: Partition, seconds: float) -> tuple[int, int]:
        place, deadline = TopicPartition(*partition), time.monotonic() + seconds
        try:
            (end,) = self._consumer.end_offsets([place], timeout_ms=seconds * 1000).values()
            left = max(0.0, deadline - time.monotonic())
            (start,) = self._consumer.beginning_offsets([place], timeout_ms=left * 1000).values()
        except (KafkaError, OSError, RuntimeError) as error:
            raise ClientFailed(failure_of(error, partition.topic)) from error
        return start, end

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=CLOSE_MILLISECONDS)


def _record(partition: Partition, found: Any) -> Record:
    return Record(
        partition,
        found.offset,
        found.key,
        found.value or b"",
        tuple([(name, value or b"") for name, value in found.headers]),
        found.timestamp / 1000,
    )
