from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bufferproxy.errors import LogUnavailable
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.log.survey import Measured, Survey, Surveyor
from bufferproxy.log.topics import ServiceTopics, topics_of
from bufferproxy.records import Entry, Partition
from bufferproxy.testing.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bufferproxy.log.contract import Lag

NAMES = ServiceTopics.of("a")
REQUESTS, RESULTS = Partition(NAMES.requests, 0), Partition(NAMES.results, 0)


class Log(MemoryLog):
    def __init__(self) -> None:
        super().__init__(Memory())
        self.asked: list[Sequence[str]] = []

    async def lag(self, group: str, topics: Sequence[str]) -> Mapping[Partition, Lag]:
        self.asked.append(topics)
        return await super().lag(group, topics)


@pytest.fixture
async def log() -> Log:
    log = Log()
    topics = topics_of(NAMES, partitions=1, body=9, reply=9, keep_results=60, keep_dead=60)
    await log.ensure(topics, create=True)
    return log


def surveyed(log: Log, told: list[Measured]) -> tuple[Survey, Surveyor]:
    clock = FakeClock()
    surveyor = Surveyor(log, clock)
    still = Survey(NAMES, clock, lambda: None, told.append, concurrency=1, moved=lambda: 0)
    surveyor.surveys.append(still)
    return still, surveyor


async def test_what_is_settled_is_looked_at_with_the_next_look_after_somebody_wants_to_know(log: Log) -> None:
    told: list[Measured] = []
    survey, surveyor = surveyed(log, told)
    await surveyor.look()
    await log.append(REQUESTS, Entry(None, b"12345", ()))
    await log.append(RESULTS, Entry(b"id", b"the end", ()))
    await log.commit(NAMES.group, {REQUESTS: (1, "")})
    await surveyor.look()
    assert not survey.settled.committed, "nobody asked"
    assert not survey.due()
    asking = [asyncio.ensure_future(survey.settled_anew()) for _ in range(3)]
    await asyncio.sleep(0)
    assert survey.due(), "also of a service that is at rest"
    await surveyor.look()
    for settled in await asyncio.gather(*asking):
        assert (settled.committed[REQUESTS], settled.written[RESULTS].end) == (1, 1)
        assert settled is survey.settled
    await surveyor.look()
    open_, both = tuple(NAMES.open), (*NAMES.open, NAMES.results, NAMES.states)
    assert log.asked == [open_, open_, both, open_]
    assert [(one.open, one.size, RESULTS in one.ends) for one in told] == [(0, 0, False)] * 4


async def test_how_far_a_partition_is_was_seen_by_the_last_look(log: Log) -> None:
    survey, surveyor = surveyed(log, [])
    assert survey.lag(REQUESTS) is None
    await surveyor.look()
    await log.append(REQUESTS, Entry(None, b"", ()))
    lag = survey.lag(REQUESTS)
    assert lag is not None
    assert lag.end == 0
    assert survey.lag(RESULTS) is None, "there is nothing open in it"


async def test_a_look_that_fails_is_told_to_those_that_waited_for_it_and_the_next_one_is_good(
    log: Log,
) -> None:
    survey, surveyor = surveyed(log, [])
    await surveyor.look()
    asking, hung_up = (asyncio.ensure_future(survey.settled_anew()) for _ in range(2))
    await asyncio.sleep(0)
    hung_up.cancel()
    log._closed = True
    with pytest.raises(LogUnavailable):
        await surveyor.look()
    with pytest.raises(LogUnavailable):
        await asking
    log._closed = False
    asking = asyncio.ensure_future(survey.settled_anew())
    await asyncio.sleep(0)
    await surveyor.look()
    assert (await asking).written[RESULTS].end == 0


async def test_figures_of_an_earlier_look_are_marked_and_nothing_counts_as_settled_by_them() -> None:
    class Partly(Log):
        async def lags(
            self, wanted: Mapping[str, tuple[str, Sequence[str]]]
        ) -> Mapping[str, Mapping[Partition, Lag]]:
            found = await super().lags(wanted)
            old = {place: lag._replace(stale=True) for place, lag in found[NAMES.requests].items()}
            return {**found, NAMES.requests: old}

    other, log, clock = ServiceTopics.of("b"), Partly(), FakeClock()
    for names in (NAMES, other):
        topics = topics_of(names, partitions=1, body=9, reply=9, keep_results=60, keep_dead=60)
        await log.ensure(topics, create=True)
    told: list[Measured] = []
    surveyor = Surveyor(log, clock)
    for names in (NAMES, other):
        survey = Survey(names, clock, lambda: None, told.append, concurrency=1)
        surveyor.surveys.append(survey)
    asking = asyncio.ensure_future(surveyor.surveys[0].settled_anew())
    await asyncio.sleep(0)
    await surveyor.look()
    assert [measured.stale for measured in told] == [True, False]
    with pytest.raises(LogUnavailable):
        await asking
