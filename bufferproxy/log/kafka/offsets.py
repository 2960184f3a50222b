"""What partitions hold and what is committed, asked of each broker by itself.

A broker that is slow or away, a partition without a leader, a topic that is denied: each costs the answers
that only it could give, and nobody waits for it longer than ASK_SECONDS. What it was asked goes on, and until
it is answered it is not asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from kafka.admin import OffsetSpec
from kafka.errors import KafkaError

from bufferproxy.clock import Clock
from bufferproxy.errors import LogError
from bufferproxy.log.kafka.asked import Asked, Commit
from bufferproxy.log.kafka.engine import Failure, Trouble
from bufferproxy.log.kafka.topics import Topics
from bufferproxy.records import Partition

ASK_SECONDS = 2.0
"""That an answer is waited for."""
LEADERS_SECONDS = 30.0
"""For which it is believed who leads a partition, unless an answer shows otherwise."""
THREADS = 6

T = TypeVar("T")
NOBODY = -1
"""The leader of a partition that has none."""


class Offsets:
    def __init__(self, topics: Topics, clock: Clock) -> None:
        self._topics = topics
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="bufferproxy-kafka-offsets")
        self._leaders: dict[Partition, int] = {}
        self._leaders_at = -LEADERS_SECONDS
        self._learning = asyncio.Lock()
        self._under_way: set[tuple[str, int]] = set()

    def partitions(self, topic: str) -> int:
        """How many `topic` has, as was found last."""
        return self._topics.counts.get(topic, 0)

    async def learn(self, topics: Collection[str]) -> None:
        """How many partitions these have, where that is not known. Raises LogUnavailable."""
        unknown = [topic for topic in topics if topic not in self._topics.counts]
        if unknown:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._topics.learn, unknown)

    async def committed(self, group: str, partitions: Collection[Partition]) -> Asked[Commit | None]:
        """None: nothing was committed there."""
        return await self._together(
            "what is committed",
            {NOBODY: partitions},
            lambda some: self._topics.committed(group, some),
        )

    async def ends(self, partitions: Collection[Partition]) -> Asked[int]:
        """The next offset to be written."""
        return await self._of_leaders("the ends", partitions, OffsetSpec.LATEST)

    async def starts(self, partitions: Collection[Partition]) -> Asked[int]:
        """The first offset that is kept."""
        return await self._of_leaders("the starts", partitions, OffsetSpec.EARLIEST)

    async def _of_leaders(self, what: str, partitions: Collection[Partition], spec: OffsetSpec) -> Asked[int]:
        async with self._learning:
            await self._learn_leaders(partitions)
        by_leader: dict[int, list[Partition]] = {}
        for partition in partitions:
            by_leader.setdefault(self._leaders.get(partition, NOBODY), []).append(partition)
        leaderless = by_leader.pop(NOBODY, [])
        asked = await self._together(what, by_leader, lambda some: self._topics.offsets(some, spec))
        if asked.failures or leaderless:
            self._leaders_at = -LEADERS_SECONDS  # somebody else may lead by now
        alone = tuple(
            Failure(Trouble.PASSING, f"{partition} has no leader", partition.topic)
            for partition in leaderless
        )
        return Asked(asked.found, (*asked.failures, *alone))

    async def _learn_leaders(self, partitions: Collection[Partition]) -> None:
        now = self._clock.now()
        fresh = now - self._leaders_at < LEADERS_SECONDS
        if fresh and all(partition in self._leaders for partition in partitions):
            return
        topics = {partition.topic for partition in partitions}
        asked = await self._together(
            "who leads", {NOBODY: partitions}, lambda _: (self._topics.leaders(topics), ())
        )
        if not asked.failures:
            self._leaders_at = now
        self._leaders.update(asked.found)

    async def _together(
        self,
        what: str,
        wanted: Mapping[int, Collection[Partition]],
        ask: Callable[[Collection[Partition]], tuple[Mapping[Partition, T], Sequence[Failure]]],
    ) -> Asked[T]:
        """`ask` for each broker's share, in threads, side by side."""
        loop = asyncio.get_running_loop()
        free = {broker: some for broker, some in wanted.items() if (what, broker) not in self._under_way}
        asking: dict[asyncio.Future[tuple[Mapping[Partition, T], Sequence[Failure]]], int] = {}
        for broker, some in free.items():
            self._under_way.add((what, broker))
            future = loop.run_in_executor(self._threads, ask, some)
            future.add_done_callback(partial(self._answered, (what, broker)))
            asking[future] = broker
        found: dict[Partition, T] = {}
        failures: list[Failure] = []
        if asking:
            await asyncio.wait(asking, timeout=ASK_SECONDS)
        for future, broker in asking.items():
            if not future.done():
                future.add_done_callback(lambda late: late.cancelled() or late.exception())
                failures.append(Failure(Trouble.PASSING, _silent(what, broker)))
            elif (error := future.exception()) is not None:
                if not isinstance(error, KafkaError | LogError | OSError | RuntimeError):
                    raise error
                failures.append(Failure(Trouble.PASSING, f"{what}: {error}"))
            else:
                some, wrong = future.result()
                found.update(some)
                failures.extend(wrong)
        failures.extend(
            Failure(Trouble.PASSING, _silent(what, broker)) for broker in wanted.keys() - free.keys()
        )
        return Asked(found, failures)

    def _answered(self, key: tuple[str, int], _: object) -> None:
        self._under_way.discard(key)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _silent(what: str, broker: int) -> str:
    who = "Kafka" if broker == NOBODY else f"broker {broker}"
    return f"{what}: {who} did not answer in {ASK_SECONDS:g} s"
