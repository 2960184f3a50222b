"""Fetches records on the I/O thread of a consumer, and hands them over.

kafka-python's `poll` crosses from the poll thread to the I/O thread and back for each request and each
answer: four switches between threads that fight for one interpreter, and the next request goes out only
after the last of them. Here the I/O thread asks, is answered, hands over and asks again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError, KafkaError
from kafka.net.wakeup_notifier import WakeupNotifier
from kafka.protocol.consumer import IsolationLevel

from bufferproxy.errors import LogUnavailable
from bufferproxy.log.kafka.asks import Asks
from bufferproxy.log.kafka.feed import Feed
from bufferproxy.log.kafka.options import FETCHED, POLL, describe
from bufferproxy.log.kafka.wire import records
from bufferproxy.records import Partition, Record

logger = logging.getLogger(__name__)

HURRIED = 0.01
"""Seconds that a fetch waits for records while a partition is paused. There is one fetch at a time, and a
partition that is resumed is asked for in the next."""


class Pump:
    """`wake` and the attributes may be used on any thread."""

    def __init__(self, consumer: Any, feed: Feed) -> None:
        self.stopped = False
        self.hurried = False
        self._asleep = False
        """Nothing is asked for, so no answer will wake it."""
        self._feed = feed
        self._net = consumer._net
        self._fetcher = consumer._fetcher
        self._fetcher.PartitionRecords = Parsed
        self._fetcher._create_fetch_requests = Asks(self._fetcher).requests
        self._changed = WakeupNotifier(self._net)

    def start(self) -> None:
        self._net.call_soon_threadsafe(self._run)

    def wake(self) -> None:
        """There may be more to ask for, or room for more."""
        try:
            self._changed.notify()
        except (RuntimeError, KafkaError):
            logger.debug("the consumer is closed")

    def resumed(self) -> None:
        """A partition was. While an answer is on its way this costs nothing: the next request asks for it."""
        if self._asleep:
            self.wake()

    async def _run(self) -> None:
        while not self.stopped:
            try:
                await self._turn()
            except (KafkaError, OSError) as error:
                logger.warning("fetching from Kafka failed: %s", describe(error))
                self._feed.post(self._feed.fail, LogUnavailable(describe(error)))
                await self._net.sleep(0.5)
            except Exception as error:
                # A bug, ours or the library's: nothing comes any more, so whoever fetches must not wait.
                logger.exception("fetching from Kafka met a bug")
                self._feed.post(self._feed.fail, error)
                return

    async def _turn(self) -> None:
        if self._feed.full_until(self.wake):
            await self._changed(POLL)
            return
        fetcher = self._fetcher
        self._let_parked_records_in()
        polled, more = fetcher.fetched_records(FETCHED)
        if polled:
            self._feed.offer(*joined(polled))
        if more:
            await self._net.sleep(0)  # heartbeats want their turn too
        else:
            await self._ask()
            await self._changed(POLL)

    async def _ask(self) -> None:
        fetcher = self._fetcher
        fetcher.config["fetch_max_wait_ms"] = int((HURRIED if self.hurried else POLL) * 1000)
        self._asleep = True  # until it is known: what is resumed meanwhile is either seen or wakes
        for asked in await fetcher._send_fetches_async():
            asked.add_both(self._answered)
        self._asleep = not fetcher._fetch_futures

    def _answered(self, _: object) -> None:
        self._changed._wakeup()

    def _let_parked_records_in(self) -> None:
        """kafka-python 3.0.12 sets fetched records of a paused partition aside, and takes them back when the
        slot for what is read next is None. But once used the slot keeps what is used up: then a partition
        that was resumed is neither read on nor fetched again, for ever. So empty the slot."""
        if not self._fetcher._next_partition_records:
            self._fetcher._next_partition_records = None


class Parsed(Fetcher.PartitionRecords):  # type: ignore[misc]
    """What was fetched of one partition, as our records: see wire.py."""

    def _unpack_records(self, place: Any, batches: Any, *_: object) -> Iterator[Record]:
        partition, last = Partition(place.topic, place.partition), None
        while (batch := batches.next_batch()) is not None:
            if batch.magic != 2:
                raise CorruptRecordError(f"{partition} holds records in a format from before Kafka 0.11")
            if self.check_crcs and not batch.validate_crc():
                raise CorruptRecordError(
                    f"a batch of {partition} from offset {batch.base_offset} on is damaged"
                )
            last, self.leader_epoch = batch, batch.leader_epoch
            self.bytes_read += batch.size_in_bytes
            if not self._skipped(batch):
                for record in _records(partition, batch):
                    self.next_fetch_offset = record.offset + 1
                    yield record
        if last is not None:  # also past what was skipped, and what compaction has taken
            self.next_fetch_offset = last.next_offset
        self.drain()

    def _skipped(self, batch: Any) -> bool:
        """Whether it is no data: a marker, or (`isolation_level`) of a transaction that was aborted."""
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)


def _records(partition: Partition, batch: Any) -> Iterator[Record]:
    iter(batch)  # decompresses it
    stamped = batch.max_timestamp if batch.timestamp_type == batch.LOG_APPEND_TIME else None
    data = bytes(batch._buffer)
    return records(
        partition, data, batch._pos, batch.records_count, batch.base_offset, batch.first_timestamp, stamped
    )


def joined(fetched: Mapping[Any, Sequence[Record]]) -> tuple[list[Record], int]:
    """All of them, and the bytes they take."""
    found = [record for some in fetched.values() for record in some]
    # Headers and objects: measured at 200 to 400 bytes a record in CPython 3.11.
    return found, sum([len(record.value) for record in found]) + 512 * len(found)
