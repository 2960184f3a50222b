"""What lies at a position, read without a group."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bufferproxy.clock import Clock
from bufferproxy.errors import LogUnavailable
from bufferproxy.log.kafka.engine import ClientFailed, Engine, FetchClient, Trouble
from bufferproxy.records import Partition, Position, Record

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
"""Without any answer, after which a read is given up."""
POLL_SECONDS = RETRY_SECONDS = 0.1


class Lookup:
    """One client, made when it is needed first, on a thread of its own."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._client: FetchClient | None = None
        self._closing = threading.Event()
        self._one_at_a_time = threading.Lock()
        # However many wait for an answer to be read, nothing else waits with them.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bufferproxy-kafka-lookup")

    async def read(self, position: Position, limit: int) -> Sequence[Record]:
        """As LogInspector.read."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._try, position, limit)

    def _try(self, position: Position, limit: int) -> Sequence[Record]:
        with self._one_at_a_time:
            try:
                return self._read(position, limit)
            except (ClientFailed, LogUnavailable, OSError, RuntimeError) as error:
                self._forget()
                raise LogUnavailable(f"reading {position}: {error}") from error
            except BaseException:
                self._forget()
                raise

    def _read(self, position: Position, limit: int) -> list[Record]:
        if self._client is None:
            # What is read is there: a fetch past it must not hold up the next read.
            self._client = self._engine.fetcher(wait=0.001)
        client, partition = self._client, position.partition
        start, end = self._bounds(client, partition)
        at = max(position.offset, start)
        records: list[Record] = []
        if at >= end:
            return records
        client.begin({partition: at})
        try:
            deadline = self._clock.now() + PATIENCE_SECONDS
            # Gaps that compaction leaves at the end hold no record: then the wait for one is short.
            while len(records) < limit and at < end:
                polled = client.poll(POLL_SECONDS)
                if polled.failures:
                    raise LogUnavailable(polled.failures[0].text)
                found = [record for record in polled.records if record.partition == partition]
                if found:
                    records += found
                    at = found[-1].offset + 1
                    deadline = self._clock.now() + PATIENCE_SECONDS
                elif client.position(partition) >= end:
                    break
                elif self._clock.now() > deadline:
                    raise LogUnavailable(f"nothing came in {PATIENCE_SECONDS:g} s")
        finally:
            client.end((partition,))
        return [record for record in records[:limit] if record.offset < end]

    def _bounds(self, client: FetchClient, partition: Partition) -> tuple[int, int]:
        """Asked again while another broker is about to lead it."""
        until = self._clock.now() + PATIENCE_SECONDS
        while True:
            left = until - self._clock.now()
            try:
                return client.bounds(partition, max(0.1, left))
            except ClientFailed as error:
                if error.failure.trouble is not Trouble.PASSING or left < RETRY_SECONDS:
                    raise
            self._closing.wait(RETRY_SECONDS)

    async def close(self) -> None:
        self._closing.set()
        self._thread.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._one_at_a_time:
            self._forget()

    def _forget(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        try:
            client.close()
        except Exception:
            logger.exception("a Kafka client did not close in order")
