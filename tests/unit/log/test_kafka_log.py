from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from bufferproxy.clock import SystemClock
from bufferproxy.errors import LogUnavailable, LogUnusable
from bufferproxy.log.kafka.log import KafkaLog
from bufferproxy.log.kafka.options import Clients, KafkaOptions
from bufferproxy.records import Partition, Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bufferproxy.records import Record


class Topics:
    def ping(self) -> None: ...

    def close(self) -> None: ...


class Producer:
    trouble = ""

    async def close(self) -> None: ...


class Sight:
    """Kafka takes its time."""

    def __init__(self) -> None:
        self.answers = threading.Event()

    def read(self, position: Position, limit: int) -> Sequence[Record]:
        self.answers.wait()
        return []

    def close(self) -> None: ...


class Consumer:
    trouble = ""

    async def close(self) -> None: ...


def opened(producer: Producer) -> KafkaLog:
    clients = Clients("127.0.0.1:1", KafkaOptions())
    log = KafkaLog(clients, cast("Any", producer), cast("Any", Topics()), SystemClock())
    log._pings = cast("Any", Topics())
    return log


async def test_a_broker_that_answers_does_not_hide_that_a_client_of_it_is_in_trouble() -> None:
    producer, reader, tail = Producer(), Consumer(), Consumer()
    log = opened(producer)
    log._readers, log._tails = [cast("Any", reader)], [cast("Any", tail)]
    for each in (producer, reader, tail):
        await log.ping()
        each.trouble = "it is being replaced"
        with pytest.raises(LogUnavailable, match="it is being replaced"):
            await log.ping()
        each.trouble = ""
    await log.close()


async def test_many_who_read_answers_do_not_make_the_log_seem_lost() -> None:
    log = opened(Producer())
    sight = Sight()
    log._sight = cast("Any", sight)
    reading = [asyncio.create_task(log.read(Position(Partition("t", 0), 0), 1)) for _ in range(100)]
    await asyncio.sleep(0)  # each of them has asked
    try:
        await log.ping()
    finally:
        sight.answers.set()
        await asyncio.gather(*reading)
        await log.close()


@pytest.mark.parametrize(
    "name", ["acks", "enable_auto_commit", "partition_assignment_strategy", "value_serializer", "group_id"]
)
def test_what_a_promise_rests_on_cannot_be_changed_by_an_option(name: str) -> None:
    with pytest.raises(LogUnusable, match=f"kafka: options: {name} cannot be changed"):
        Clients("127.0.0.1:1", KafkaOptions(options={name: "another"}))


def test_an_option_that_says_what_holds_anyway_is_taken() -> None:
    Clients("127.0.0.1:1", KafkaOptions(options={"acks": "all", "enable_idempotence": True}))


def test_a_client_that_cannot_be_made_for_want_of_a_thread_leaves_nothing_running() -> None:
    made: list[Client] = []

    class Client:
        closed = False

        def close(self) -> None:
            self.closed = True
            raise RuntimeError("cannot join thread before it is started")

    def kind(*, kafka_client: Any) -> None:
        made.append(kafka_client())
        raise RuntimeError("can't start new thread")

    with pytest.raises(RuntimeError, match="can't start"):
        Clients("127.0.0.1:1", KafkaOptions())._build(kind, {"kafka_client": Client})
    assert made[0].closed
