from __future__ import annotations

import pytest

from bufferproxy.errors import LogUnavailable
from bufferproxy.log.kafka.feed import Feed
from bufferproxy.records import Partition, Record

RECORD = Record(Partition("t", 0), 0, None, b"v", (), 1.0)


async def test_what_a_thread_died_of_is_told_though_a_batch_and_an_outage_come_after_it() -> None:
    feed = Feed()
    feed.fail(AssertionError("a bug"))
    feed._arrive([RECORD], 1)
    feed.fail(LogUnavailable("away"))
    assert await feed.take() == [RECORD]
    with pytest.raises(AssertionError, match="a bug"):
        await feed.take()


async def test_an_outage_that_a_batch_has_ended_is_not_told() -> None:
    feed = Feed()
    feed.fail(LogUnavailable("away"))
    feed._arrive([RECORD], 1)
    assert await feed.take() == [RECORD]
    feed.fail(LogUnavailable("away again"))
    with pytest.raises(LogUnavailable, match="away again"):
        await feed.take()
