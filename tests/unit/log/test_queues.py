from __future__ import annotations

import pytest

from bufferproxy.errors import LogUnusable
from bufferproxy.log.contract import Keep, Topic
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.log.queues import check_queues
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Entry, Partition
from bufferproxy.testing.clock import FakeClock

PLAIN, RANKED = ServiceTopics.of("a"), ServiceTopics.of("a", priorities=True)


async def log_with(**partitions: int) -> MemoryLog:
    log = MemoryLog(Memory(), FakeClock())
    topics = {"normal": RANKED.requests, "high": RANKED.high, "low": RANKED.low}
    kept = Keep(committed_by=RANKED.group)
    await log.ensure([Topic(topics[name], n, kept) for name, n in partitions.items()], create=True)
    return log


async def test_a_key_has_one_number_in_all_topics_of_requests() -> None:
    await check_queues([RANKED], await log_with(normal=3, high=3, low=3))
    with pytest.raises(LogUnusable, match=r"requests has 24, .*high has 12, .*low has 12"):
        await check_queues([RANKED], await log_with(normal=24, high=12, low=12))


async def test_what_nobody_would_read_any_more_is_not_left_behind() -> None:
    log = await log_with(normal=1, high=1, low=1)
    await check_queues([PLAIN], log)
    await check_queues([PLAIN], await log_with(normal=1))
    await log.append(Partition(PLAIN.requests, 0), Entry(None, b"", ()))
    await check_queues([PLAIN], log)
    await log.append(Partition(PLAIN.low, 0), Entry(None, b"", ()))
    with pytest.raises(LogUnusable, match=r"1 requests wait .*drain first"):
        await check_queues([PLAIN], log)
