"""A look at what lies at a position, without a group."""

from __future__ import annotations

import logging
import threading
from typing import Any

from kafka import TopicPartition

from bufferproxy.clock import Clock
from bufferproxy.errors import LogUnavailable
from bufferproxy.log.kafka.options import POLL, Clients, ours
from bufferproxy.log.kafka.pump import Parsed, joined
from bufferproxy.records import Position, Record

logger = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds without any answer after which a read is given up."""


class Sight:
    """Reads at a position, with one consumer, made when it is needed first. Blocks."""

    def __init__(self, clients: Clients, clock: Clock) -> None:
        self._clients = clients
        self._clock = clock
        self._consumer: Any = None
        self._one_at_a_time = threading.Lock()

    def read(self, position: Position, limit: int) -> list[Record]:
        with self._one_at_a_time, ours(f"reading {position}"):
            try:
                return self._read(position, limit)
            except BaseException:
                self._forget()  # its I/O loop may have crashed: the next read makes another one
                raise

    def _read(self, position: Position, limit: int) -> list[Record]:
        place = TopicPartition(*position.partition)
        if self._consumer is None:
            # What is read is there. The fetch that kafka-python sends ahead, past it, must not hold up the
            # next read for as long as Kafka would wait for something to be appended.
            self._consumer = self._clients.consumer(fetch_max_wait_ms=1)
            self._consumer._fetcher.PartitionRecords = Parsed
        consumer = self._consumer
        # As `assign`, which would forget the topics before it, and wait for their metadata with the next one.
        consumer._subscription.assign_from_user([place])
        consumer._cluster.add_topic(place.topic)
        (end,) = consumer.end_offsets([place], timeout_ms=PATIENCE * 1000).values()
        (start,) = consumer.beginning_offsets([place], timeout_ms=PATIENCE * 1000).values()
        at = max(position.offset, start)
        records: list[Record] = []
        consumer.seek(place, at)
        deadline = self._clock.now() + PATIENCE
        while len(records) < limit and at < end:
            # The position also passes what is no record: gaps left by compaction, markers.
            polled = consumer.poll(timeout_ms=int(POLL * 1000), max_records=limit - len(records))
            records += joined(polled)[0]
            at = consumer.position(place, timeout_ms=1000)
            if polled:
                deadline = self._clock.now() + PATIENCE
            elif self._clock.now() > deadline:
                raise LogUnavailable(f"reading {position}: nothing came in {PATIENCE:g} s")
        return [record for record in records if record.offset < end]

    def close(self) -> None:
        with self._one_at_a_time:
            self._forget()

    def _forget(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        try:
            consumer.close(autocommit=False, timeout_ms=1000)
        except Exception:
            logger.exception("a consumer did not close in order")
