"""The thread that polls one consumer: for its group's sake, its records come through a `Pump`."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

from kafka import TopicPartition
from kafka.errors import Cancelled, KafkaError

from bufferproxy.errors import LogError, LogUnavailable
from bufferproxy.log.kafka.feed import Feed
from bufferproxy.log.kafka.options import POLL, describe
from bufferproxy.log.kafka.pump import Pump
from bufferproxy.records import Partition

logger = logging.getLogger(__name__)

JOIN = 1.0
"""Seconds that one poll waits for a join of the group: one that ends between two polls is made again."""

END = 8.0
"""Seconds that the thread is given to end: a question under way takes up to 5, leaving the group up to 2."""


class Poller(threading.Thread):
    """Polls until it is told to stop, then closes the consumer. `between` runs on it at least every POLL
    seconds, and right after a rebalance."""

    def __init__(self, consumer: Any, feed: Feed, *, between: Callable[[], None] = lambda: None) -> None:
        super().__init__(name="bufferproxy-poll", daemon=True)
        self.pump = Pump(consumer, feed)
        self._consumer = consumer
        self._feed = feed
        self._between = between
        self._stopping = threading.Event()
        self._abandoned = False
        # What `poll` does last: here it would fetch.
        consumer._fetcher.fetch_records = self._rest

    def stop(self, *, abandon: bool = False) -> None:
        """`abandon`: as a crash would, without leaving the group."""
        self._abandoned = abandon
        self.pump.stopped = True
        self._stopping.set()
        self._feed.close()

    async def ended(self) -> None:
        """On the loop, after `stop`. Waits a while: this thread hangs when the I/O thread does, and neither
        keeps the process from ending."""
        await asyncio.to_thread(self.join, END)
        if self.is_alive():
            logger.warning("a consumer did not close within %g s, and is left alone", END)

    def stops_within(self, seconds: float) -> bool:
        """On this thread: waits so long, and returns at once whether it is told to stop."""
        return self._stopping.wait(seconds)

    def positions(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The next offset to be fetched of each that is assigned and has one. Asks nobody."""
        found = {}
        for partition in partitions:
            state = self._consumer._subscription.assignment.get(TopicPartition(*partition))
            if state is not None and state.position is not None:
                found[partition] = state.position.offset
        return found

    def run(self) -> None:
        self.pump.start()
        while not self._stopping.is_set():
            try:
                self._consumer.poll(timeout_ms=int(JOIN * 1000))
            # RuntimeError: the client's I/O loop has crashed. LogError: `between` could not ask Kafka.
            except (KafkaError, LogError, OSError, RuntimeError) as error:
                if self._stopping.is_set():
                    break
                logger.warning("polling Kafka failed: %s", describe(error))
                self._feed.post(self._feed.fail, LogUnavailable(describe(error)))
                self._stopping.wait(0.5)
            except Exception as error:
                # A bug, ours or the library's: this thread is over, so whoever fetches must not wait for it.
                logger.exception("polling Kafka met a bug")
                self._feed.post(self._feed.fail, error)
                break
        self._end()

    def _rest(self, *_: object, timeout_ms: float, **__: object) -> tuple[dict[Any, Any], bool]:
        self._between()
        if self._stopping.wait(min(timeout_ms / 1000, POLL)):
            raise Cancelled("closing")
        return {}, False

    def _end(self) -> None:
        self.pump.stopped = True
        try:
            if self._abandoned:
                self._consumer._client.close()
                self._consumer._closed = True
            else:
                self._consumer.close(autocommit=False, timeout_ms=2000)
        except (KafkaError, OSError, RuntimeError) as error:
            logger.warning("a consumer did not close in order: %s", describe(error))
