from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bufferproxy.log.kafka.feed import Feed
from bufferproxy.log.kafka.poller import Poller

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Fetcher:
    _next_partition_records: object = None


class Consumer:
    """Polls once, and meets a bug."""

    _fetcher = Fetcher()
    closed = False

    def poll(self, *, timeout_ms: int) -> Mapping[Any, Sequence[Any]]:
        raise AssertionError("Unassigned partition")

    def close(self, *, autocommit: bool, timeout_ms: int) -> None:
        self.closed = True


async def test_a_poll_thread_that_meets_a_bug_does_not_die_in_silence() -> None:
    feed, consumer = Feed(), Consumer()
    poller = Poller(consumer, feed)
    poller.start()
    with pytest.raises(AssertionError, match="Unassigned partition"):
        async with asyncio.timeout(5):
            await feed.take()
    poller.stop()
    await asyncio.to_thread(poller.join)
    assert consumer.closed
