"""The producer is replaced: without Kafka, on lives that fail as told."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, cast

import pytest

from bufferproxy.log.kafka import producer as producer_module
from bufferproxy.log.kafka.producer import STALLED, Known, Producer
from bufferproxy.records import Entry, Partition
from bufferproxy.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufferproxy.log.contract import Appended


class Life:
    """`troubles`: what the making of the next ones meets; None is none."""

    lives: list[Life]
    troubles: list[Exception | None]

    def __init__(self, *_: object) -> None:
        self.sends: dict[Any, int] = defaultdict(int)
        self.client = self
        self.quiet = self.wanted = False
        self.closed = False
        self.close_fails: Exception | None = None
        self.lives.append(self)

    def warm(self, topics: list[str]) -> None:
        trouble = self.troubles.pop(0) if self.troubles else None
        if trouble is not None:
            raise trouble

    def append(self, *_: object) -> None:
        """Kafka does not answer."""

    def wake_if_wanted(self) -> None: ...

    def close(self, seconds: float) -> None:
        self.closed = True
        if self.close_fails is not None:
            raise self.close_fails


@pytest.fixture(autouse=True)
def lives(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Life]]:
    Life.lives, Life.troubles = [], []
    monkeypatch.setattr(producer_module, "Life", Life)
    return Life.lives


async def test_a_producer_is_tried_again_whatever_its_making_meets(
    lives: list[Life], caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    producer = Producer(cast("Any", None), clock)
    await producer.open()
    Life.troubles = [RuntimeError("can't start new thread"), ValueError("a bug")]
    lives[0].close_fails = RuntimeError("the loop has crashed")
    producer._replace(producer._life, "it does not answer")
    for _ in range(2):
        await clock.until_set(2)  # the watch, and this
        assert producer.trouble == "the Kafka producer is being replaced"
        await clock.advance(0.5)
    assert producer._replacing is not None
    await producer._replacing
    assert not producer.trouble
    assert producer._life is lives[3]
    assert [life.closed for life in lives] == [True, True, True, False], "those that failed are closed"
    assert "no new Kafka producer yet: RuntimeError: can't start new thread" in caplog.text
    await producer.close()


async def test_a_producer_that_refuses_because_kafka_does_not_answer_is_in_trouble() -> None:
    clock = FakeClock()
    results: list[Appended] = []
    producer = Producer(cast("Any", None), clock)
    await producer.open()
    producer.topics["t"] = Known(1, 1000, compact=False)
    for seconds, trouble in ((STALLED, ""), (0.1, "Kafka has not answered for 3 s")):
        producer.submit(Partition("t", 0), Entry(None, b"v", ()), results.append)
        await clock.advance(seconds)
        assert producer.trouble == trouble
    assert not results
    producer.submit(Partition("t", 0), Entry(None, b"v", ()), results.append)
    assert [str(result) for result in results] == [producer.trouble]
    await producer.abandon()
