from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from kafka import TopicPartition
from kafka.future import Future
from kafka.net.selector import NetworkSelector

from bufferproxy.log.kafka import feed as feed_module
from bufferproxy.log.kafka import poller as poller_module
from bufferproxy.log.kafka.feed import Feed
from bufferproxy.log.kafka.options import Clients, KafkaOptions
from bufferproxy.log.kafka.poller import Poller
from bufferproxy.log.kafka.reader import KafkaReader
from bufferproxy.log.kafka.tail import KafkaTail
from bufferproxy.records import Partition, Record
from bufferproxy.testing.log_world import Holding

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence


def fetched(offset: int) -> Record:
    return Record(Partition("t", 0), offset, None, b"v", (), 1.0)


class Fetcher:
    """Answers each request with what `arrive` was given meanwhile, or leaves it open."""

    _next_partition_records: object = None

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        self.waits: list[int] = []
        self._fetch_futures: list[Future] = []
        self._fetched: list[Record] = []
        self.failure: Exception | None = None

    def fetched_records(self, most: int) -> tuple[Mapping[Any, Sequence[Record]], bool]:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        now, self._fetched = self._fetched[:most], self._fetched[most:]
        return ({TopicPartition("t", 0): now} if now else {}), bool(self._fetched)

    async def _send_fetches_async(self) -> Sequence[Future]:
        self.waits.append(self.config["fetch_max_wait_ms"])
        self._fetch_futures = [Future()]
        return self._fetch_futures

    def arrive(self, *offsets: int) -> None:
        """On the I/O thread."""
        self._fetched += map(fetched, offsets)
        answered, self._fetch_futures = self._fetch_futures, []
        for future in answered:
            future.success(None)


class Consumer:
    """With a real I/O loop, and nobody at the other end."""

    def __init__(self) -> None:
        self._net = NetworkSelector()
        self._net.start()
        self._fetcher = Fetcher()
        self.closed = threading.Event()
        self.bug: Exception | None = None

    def poll(self, *, timeout_ms: int) -> Mapping[Any, Sequence[Any]]:
        if self.bug is not None:
            raise self.bug
        self._fetcher.fetch_records(timeout_ms=timeout_ms)  # type: ignore[attr-defined]
        return {}

    def close(self, *, autocommit: bool, timeout_ms: int) -> None:
        self._net.close()
        self.closed.set()

    def arrive(self, *offsets: int) -> None:
        self._net.call_soon_threadsafe(lambda: self._fetcher.arrive(*offsets))


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    consumer = Consumer()
    yield consumer
    consumer.closed.wait(5)


async def stopped(poller: Poller) -> None:
    poller.stop()
    await asyncio.to_thread(poller.join)


async def taken(feed: Feed, count: int) -> list[int]:
    offsets: list[int] = []
    async with asyncio.timeout(5):
        while len(offsets) < count:
            offsets += [record.offset for record in await feed.take()]
    return offsets


async def test_a_poll_thread_that_meets_a_bug_does_not_die_in_silence(consumer: Consumer) -> None:
    feed = Feed()
    consumer.bug = AssertionError("Unassigned partition")
    poller = Poller(consumer, feed)
    poller.start()
    with pytest.raises(AssertionError, match="Unassigned partition"):
        async with asyncio.timeout(5):
            await feed.take()
    await stopped(poller)
    assert consumer.closed.is_set()


async def opened_reader(consumer: Consumer) -> KafkaReader:
    reader = KafkaReader(Clients("127.0.0.1:1", KafkaOptions()), "g", ["t"], Holding())
    reader._poller = Poller(consumer, reader._feed)
    reader._poller.start()
    return reader


async def opened_tail(consumer: Consumer) -> KafkaTail:
    return KafkaTail(consumer, {})


@pytest.mark.parametrize("opened", [opened_reader, opened_tail])
async def test_a_consumer_that_hangs_does_not_hold_up_the_end(
    opened: Callable[[Consumer], Awaitable[KafkaReader | KafkaTail]],
    consumer: Consumer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(poller_module, "END", 0.05)
    polling, answers = threading.Event(), threading.Event()

    def poll(*, timeout_ms: int) -> None:
        polling.set()
        answers.wait()

    monkeypatch.setattr(consumer, "poll", poll)
    hanging = await opened(consumer)
    await asyncio.to_thread(polling.wait)
    ending = asyncio.create_task(hanging.close())
    await asyncio.wait([ending], timeout=5)
    ended = ending.done()
    answers.set()
    await ending
    assert ended
    assert "a consumer did not close within 0.05 s" in caplog.text


async def test_fetching_that_meets_a_bug_does_not_end_in_silence(consumer: Consumer) -> None:
    feed = Feed()
    consumer._fetcher.failure = AssertionError("a bug")
    poller = Poller(consumer, feed)
    poller.start()
    with pytest.raises(AssertionError, match="a bug"):
        async with asyncio.timeout(5):
            await feed.take()
    await stopped(poller)


async def test_what_is_fetched_arrives_in_order_and_the_next_request_follows(consumer: Consumer) -> None:
    feed = Feed()
    poller = Poller(consumer, feed)
    poller.start()
    consumer.arrive(0, 1)
    assert await taken(feed, 2) == [0, 1]
    consumer.arrive(2)
    assert await taken(feed, 1) == [2]
    await stopped(poller)


async def test_a_full_feed_asks_for_nothing_until_there_is_room(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "RECORDS", 2)
    feed = Feed()
    refused, loop = asyncio.Event(), asyncio.get_running_loop()
    looks = feed.full_until

    def full_until(tell: Callable[[], object]) -> bool:
        full = looks(tell)
        if full:
            loop.call_soon_threadsafe(refused.set)
        return full

    monkeypatch.setattr(feed, "full_until", full_until)
    poller = Poller(consumer, feed)
    asked = _counted(consumer, poller)
    poller.start()
    await asked(1)
    consumer.arrive(0, 1)
    await asked(2)  # it is full now, and sees it when this one is answered
    consumer.arrive(2)
    async with asyncio.timeout(5):
        await refused.wait()
    assert len(consumer._fetcher.waits) == 2
    assert await taken(feed, 3) == [0, 1, 2]
    await asked(3)
    await stopped(poller)


async def test_a_fetch_waits_less_while_a_partition_is_paused(consumer: Consumer) -> None:
    """It cannot ask for one that is resumed before the fetch under way is answered."""
    feed = Feed()
    poller = Poller(consumer, feed)
    poller.pump.hurried = True
    asked = _counted(consumer, poller)
    poller.start()
    await asked(1)
    poller.pump.hurried = False
    consumer.arrive(0)
    await asked(2)
    await stopped(poller)
    assert consumer._fetcher.waits[:2] == [10, 100]


def _counted(consumer: Consumer, poller: Poller) -> Callable[[int], Any]:
    """Waits for the nth request."""
    requests, loop = asyncio.Queue[None](), asyncio.get_running_loop()
    original = consumer._fetcher._send_fetches_async

    async def send() -> Sequence[Future]:
        sent = await original()
        loop.call_soon_threadsafe(requests.put_nowait, None)
        return sent

    consumer._fetcher._send_fetches_async = send  # type: ignore[method-assign]
    seen = 0

    async def asked(count: int) -> None:
        nonlocal seen
        async with asyncio.timeout(5):
            while seen < count:
                await requests.get()
                seen += 1

    return asked
