"""What a reader and a tail show to their watchdog, without Kafka."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from bufferproxy.log.contract import Lease
from bufferproxy.log.kafka import tail as tail_module
from bufferproxy.log.kafka.commits import Commits
from bufferproxy.log.kafka.options import Clients, KafkaOptions
from bufferproxy.log.kafka.reader import KafkaReader
from bufferproxy.log.kafka.tail import KafkaTail
from bufferproxy.records import Partition
from bufferproxy.testing.log_world import Holding

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import pytest

P, Q = Partition("t", 0), Partition("t", 1)


class Poller:
    """Has a position in Q alone."""

    pump = SimpleNamespace(wake=lambda: None, hurried=False)

    def __init__(self, *_: object) -> None: ...

    def start(self) -> None: ...

    def positions(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        return {Q: 9} if Q in partitions else {}


def opened(holding: Holding) -> KafkaReader:
    reader = KafkaReader(Clients("127.0.0.1:1", KafkaOptions()), "g", ["t"], holding)
    reader._consumer = SimpleNamespace(
        assignment=set,
        pause=lambda *_: None,
        resume=lambda *_: None,
        _coordinator=SimpleNamespace(stable=lambda: True, _heartbeat_enabled=True),
    )
    reader._commits = Commits(reader._consumer, reader._leases)
    reader._poller = cast("Any", Poller())
    reader._granted({P: Lease(1, 5), Q: Lease(1, 7)})
    return reader


async def test_a_partition_that_is_held_and_not_read_is_seen_where_it_was_committed() -> None:
    reader = opened(Holding())
    assert reader.seen().reading == {P: 5, Q: 9}
    reader.pause(P)
    assert reader.seen().reading == {Q: 9}


async def test_a_partition_that_is_being_given_away_is_not_missed() -> None:
    asked, settled, holding = asyncio.Event(), asyncio.Event(), Holding()

    async def revoking(_: Collection[Partition]) -> None:
        asked.set()
        await settled.wait()

    holding.on_revoking = revoking
    reader = opened(holding)
    revoke = asyncio.create_task(reader._revoke({P}))
    await asked.wait()
    assert reader.seen().reading == {Q: 9}
    settled.set()
    await revoke
    reader._granted({P: Lease(2, 6)})
    assert reader.seen().reading == {P: 6, Q: 9}


async def test_a_partition_that_a_tail_does_not_read_is_seen_where_it_should_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tail_module, "Poller", Poller)
    assert KafkaTail(None, {P: 5, Q: 7}).seen().reading == {P: 5, Q: 9}
