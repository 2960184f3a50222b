"""Order, key and partitions do not change under requests that wait: a start compares with what is stored."""

from __future__ import annotations

import pytest

from bufferproxy.errors import AppendRefused, LogUnavailable, LogUnusable
from bufferproxy.log.contract import Keep, Topic
from bufferproxy.log.layout import Layout, Layouts, Unknown, decode, encode, refusal, unlike
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Entry, Partition
from bufferproxy.testing.clock import FakeClock

NAMES, STATE = ServiceTopics.of("orders"), "bufferproxy.state"
KEYED = Layout("key", "header:x-user-id", 4)


async def log_of(partitions: int = 4, memory: Memory | None = None) -> MemoryLog:
    log = MemoryLog(memory or Memory(), FakeClock())
    queues = [Topic(name, partitions, Keep()) for name in (NAMES.requests, NAMES.parked)]
    await log.ensure([Topic(STATE, 1, Keep(compact=True)), *queues], create=True)
    return log


async def start(
    log: MemoryLog,
    order: str = "key",
    key: str = "header:x-user-id",
    waiting: int = 0,
    *,
    partitions: int | None = None,
    accepts: bool = True,
) -> None:
    layouts = Layouts(log, STATE, partitions=partitions, accepts=accepts)
    await layouts.read()
    layouts.judge("orders", NAMES, order, key, waiting)
    await layouts.store()


async def kept(log: MemoryLog) -> Layout | Unknown:
    records = [r async for page in log.pages(Partition(STATE, 0), 0, 1000) for r in page]
    return decode(records[-1].value)


def test_a_layout_is_read_as_it_was_stored_and_what_cannot_be_read_says_why() -> None:
    assert decode(encode("orders", KEYED).value) == KEYED
    for value in (b"", b"[]", b"3", b'{"version":2}', b'{"version":1,"order":"key"}', b"\xff"):
        found = decode(value)
        assert isinstance(found, Unknown)
        assert found.why


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (
            KEYED._replace(order="none"),
            r"services\.orders\.order: 3 requests wait .*`order: key`.*`order: none`",
        ),
        (KEYED._replace(key="path:1"), r"services\.orders\.key: .*`key: header:x-user-id`.*`key: path:1`"),
        (KEYED._replace(key=""), r"now it is no `key`: set `key: header:x-user-id` again, and drain first"),
        (KEYED._replace(partitions=8), r"requests had 4 partitions, and now it has 8: drain first"),
    ],
)
def test_what_changed_under_requests_that_wait_is_named_with_both_values_and_the_mend(
    now: Layout, says: str
) -> None:
    import re

    assert re.search(says, refusal("orders", NAMES, KEYED, now, 3))
    assert "drain first" in refusal("orders", NAMES, KEYED, now, 3)
    assert refusal("orders", NAMES, KEYED, now, 0) == ""
    assert refusal("orders", NAMES, None, now, 3) == "", "nothing is known: they were accepted as now"


def test_a_number_of_partitions_that_the_topic_does_not_have_is_never_passed_over() -> None:
    assert unlike("orders", NAMES, 4, 4, 3) == ""
    assert "set 4 again, and drain first" in unlike("orders", NAMES, 8, 4, 3)
    assert "--alter --partitions 8" in unlike("orders", NAMES, 8, 4, 0)
    assert "Kafka takes none away" in unlike("orders", NAMES, 2, 4, 0)


async def test_the_first_start_stores_it_and_a_start_without_backlog_stores_the_change() -> None:
    log = await log_of()
    await start(log, waiting=3)
    assert await kept(log) == KEYED
    with pytest.raises(LogUnusable, match="drain first"):
        await start(log, order="none", waiting=1)
    assert await kept(log) == KEYED
    await start(log, order="none")
    assert await kept(log) == KEYED._replace(order="none")
    await start(log, order="none", waiting=5)


async def test_what_did_not_change_is_not_stored_again() -> None:
    log = await log_of()
    for _ in range(3):
        await start(log, waiting=2)
    records = [r async for page in log.pages(Partition(STATE, 0), 0, 1000) for r in page]
    assert len(records) == 1


async def test_other_records_of_the_topic_are_left_alone() -> None:
    log = await log_of()
    await log.append(Partition(STATE, 0), Entry(b"something else", b"not ours", ()))
    await start(log)
    await log.append(Partition(STATE, 0), Entry(b"layout/orders", b'{"version":2}', ()))
    with pytest.raises(LogUnusable, match=r"services\.orders: .*cannot be read \(version 2\)"):
        await start(log, waiting=1)
    await start(log)
    assert await kept(log) == KEYED


async def test_where_a_topic_was_given_more_partitions_only_who_does_not_accept_drains_it() -> None:
    log = await log_of(4)
    await start(log)
    larger = NAMES._replace(requests="larger.requests", parked="larger.parked")
    await log.ensure([Topic(name, 8, Keep()) for name in (larger.requests, larger.parked)], create=True)
    for accepts in (True, False):
        layouts = Layouts(log, STATE, partitions=None, accepts=accepts)
        await layouts.read()
        if accepts:
            with pytest.raises(LogUnusable, match="by `bufferproxy worker` alone"):
                layouts.judge("orders", larger, "key", "header:x-user-id", 2)
        else:
            layouts.judge("orders", larger, "key", "header:x-user-id", 2)
            await layouts.store()
            assert await kept(log) == KEYED, "until nothing of before waits"


async def test_what_cannot_be_stored_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    log = await log_of()
    layouts = Layouts(log, STATE, partitions=4, accepts=True)
    await layouts.read()
    layouts.judge("orders", NAMES, "key", "header:x-user-id", 0)
    monkeypatch.setattr(log, "submit", lambda _partition, _entry, done: done(AppendRefused("full")))
    with pytest.raises(LogUnavailable, match="orders could not be stored: full"):
        await layouts.store()
    monkeypatch.undo()
    await layouts.store()
    assert await kept(log) == KEYED


async def test_what_is_parked_lies_under_the_same_number() -> None:
    log = await log_of(4)
    await log.ensure([Topic("other.parked", 8, Keep())], create=True)
    other = NAMES._replace(parked="other.parked")
    layouts = Layouts(log, STATE, partitions=None, accepts=True)
    layouts.judge("orders", other, "none", "", 0)
    with pytest.raises(LogUnusable, match=r"orders\.order: key needs .*parked, which has 8, .*which has 4"):
        layouts.judge("orders", other, "key", "", 0)
