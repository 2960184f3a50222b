"""Before a request is called what killed its worker, the log is asked whether it was answered since.

It was on its way, alone, each time a worker ended. So it is too when workers are killed from outside at just
the wrong moment: between an answer and the commit of what came of it. The answer is in the log then, in
`.results` or in `.states`, and acquits it. What is read goes back from the newest record to the time when the
request was accepted. That can be much, and is asked for once in many crashes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

from bufferproxy.clock import Clock
from bufferproxy.drain.lanes import Item
from bufferproxy.envelope import change_of
from bufferproxy.errors import EnvelopeError, LogError
from bufferproxy.log.contract import PAGE, LogInspector
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Change, Partition, Record, Request, State
from bufferproxy.settle.settler import seen_before

AGAIN = 0.5
"""Seconds until the log is asked again."""

APART = 5.0
"""Seconds by which the clocks of who accepted and who answered may differ."""


class Verdict(Enum):
    SETTLED = "all that settles it is in the log"
    ANSWERED = "it came back"
    GUILTY = "nobody ever heard of it again"


class Inquest:
    """`concluded(item, verdict)` is called on the loop, after `begin`."""

    def __init__(
        self, topics: ServiceTopics, concluded: Callable[[Item, Verdict], None], clock: Clock
    ) -> None:
        self._topics = topics
        self._concluded = concluded
        self._clock = clock
        self._suspects = 0
        self._ask: Callable[[Item], object] = self._too_early

    def __len__(self) -> int:
        return self._suspects

    def begin(self, log: LogInspector, tasks: asyncio.TaskGroup) -> None:
        """Each suspect is a task: there are next to none, ever."""
        self._ask = lambda item: tasks.create_task(self._look_into(item, log))

    def on(self, item: Item) -> None:
        self._suspects += 1
        self._ask(item)

    async def _look_into(self, item: Item, log: LogInspector) -> None:
        verdict = await self._verdict_on(item.request, log)
        self._suspects -= 1
        self._concluded(item, verdict)

    def _too_early(self, item: Item) -> None:
        raise RuntimeError(f"nothing is fetched before the worker runs: {item!r}")

    async def _verdict_on(self, request: Request, log: LogInspector) -> Verdict:
        while True:
            try:
                return await verdict_on(request, log, self._topics)
            except LogError:
                await self._clock.sleep(AGAIN)

    def __repr__(self) -> str:
        return f"<Inquest on {self._suspects}>"


async def verdict_on(request: Request, log: LogInspector, topics: ServiceTopics) -> Verdict:
    """Raises LogError."""
    for place in (Partition(topics.results, request.results), topics.states_place):
        change = await _last_word(request, log, place)
        if change is not None:
            whole = change.state is State.DELIVERED and not seen_before(request, topics)
            return Verdict.SETTLED if whole else Verdict.ANSWERED
    return Verdict.GUILTY


async def _last_word(request: Request, log: LogInspector, partition: Partition) -> Change | None:
    """What an attempt came to that `request` does not count yet."""
    lag = (await log.lag("", (partition.topic,))).get(partition)
    if lag is None:
        return None
    oldest = request.accepted_at / 1000 - APART
    end = lag.end
    while end > lag.start:
        start = max(lag.start, end - PAGE)
        page = [record async for part in log.pages(partition, start, end) for record in part]
        for record in reversed(page):
            change = _answer_to(request, record)
            if change is not None:
                return change
        if page and page[0].appended_at < oldest:
            return None
        end = start
    return None


def _answer_to(request: Request, record: Record) -> Change | None:
    if record.key != request.id.encode() or not record.headers:
        return None
    try:
        change = change_of(record)
    except EnvelopeError:
        return None
    return change if change.attempts > request.attempts else None
