"""What partitions hold and what is committed, asked of each broker by itself.

A broker that is slow or away, a partition without a leader, a topic that is denied: each costs the answers
that only it could give, and nobody waits for it longer than ASK_SECONDS. What it was asked goes on, and until
it is answered it is not asked again. Whoever takes a `late` answer may get that one: so a broker that is
always slow is heard all the same. Leases must not begin by one: it may be older than somebody's last commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from kafka.admin import OffsetSpec
from kafka.errors import KafkaError

from bufferproxy.clock import Clock
from bufferproxy.errors import LogError
from bufferproxy.log.kafka.asked import Asked, Commit
from bufferproxy.log.kafka.engine import Failure, Trouble
from bufferproxy.log.kafka.topics import Topics
from bufferproxy.records import Partition

ASK_SECONDS = 2.0
"""That an answer is waited for, where nothing else is said."""
LEADERS_SECONDS = 30.0
"""For which it is believed who leads a partition, unless an answer shows otherwise."""
THREADS = 6

T = TypeVar("T")
Answer = tuple[Mapping[Partition, T], Sequence[Failure]]
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
        self._under_way: dict[tuple[str, int], asyncio.Future[Answer[Any]]] = {}

    def partitions(self, topic: str) -> int:
        """How many `topic` has, as was found last."""
        return self._topics.counts.get(topic, 0)

    async def learn(self, topics: Collection[str]) -> None:
        """How many partitions these have, where that is not known. Raises LogUnavailable."""
        unknown = [topic for topic in topics if topic not in self._topics.counts]
        if unknown:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._topics.learn, unknown)

    async def committed(
        self,
        group: str,
        partitions: Collection[Partition],
        *,
        late: bool = False,
        seconds: float = ASK_SECONDS,
    ) -> Asked[Commit | None]:
        """None: nothing was committed there."""
        return await self._together(
            f"what {group} has committed",
            {NOBODY: partitions},
            lambda some: self._topics.committed(group, some),
            late=late,
            seconds=seconds,
        )

    async def ends(
        self, partitions: Collection[Partition], *, late: bool = False, seconds: float = ASK_SECONDS
    ) -> Asked[int]:
        """The next offset to be written."""
        return await self._of_leaders("the ends", partitions, OffsetSpec.LATEST, late=late, seconds=seconds)

    async def starts(
        self, partitions: Collection[Partition], *, late: bool = False, seconds: float = ASK_SECONDS
    ) -> Asked[int]:
        """The first offset that is kept."""
        return await self._of_leaders(
            "the starts", partitions, OffsetSpec.EARLIEST, late=late, seconds=seconds
        )

    async def _of_leaders(
        self, what: str, partitions: Collection[Partition], spec: OffsetSpec, *, late: bool, seconds: float
    ) -> Asked[int]:
        async with self._learning:
            await self._learn_leaders(partitions)
        by_leader: dict[int, list[Partition]] = {}
        for partition in partitions:
            by_leader.setdefault(self._leaders.get(partition, NOBODY), []).append(partition)
        leaderless = by_leader.pop(NOBODY, [])
        asked = await self._together(
            what, by_leader, lambda some: self._topics.offsets(some, spec), late=late, seconds=seconds
        )
        if asked.failures or leaderless:
            self._leaders_at = -LEADERS_SECONDS  # somebody else may lead by now
        alone = tuple(
            Failure(Trouble.PASSING, f"{partition} has no leader", partition.topic)
            for partition in leaderless
        )
        return asked._replace(failures=(*asked.failures, *alone))

    async def _learn_leaders(self, partitions: Collection[Partition]) -> None:
        now = self._clock.now()
        fresh = now - self._leaders_at < LEADERS_SECONDS
        if fresh and all(partition in self._leaders for partition in partitions):
            return
        topics = {partition.topic for partition in partitions}
        asked = await self._together(
            "who leads", {NOBODY: partitions}, lambda _: (self._topics.leaders(topics), ()), late=True
        )
        if not asked.failures:
            self._leaders_at = now
        self._leaders.update(asked.found)

    async def _together(
        self,
        what: str,
        wanted: Mapping[int, Collection[Partition]],
        ask: Callable[[Collection[Partition]], Answer[T]],
        *,
        late: bool,
        seconds: float = ASK_SECONDS,
    ) -> Asked[T]:
        """`ask` for each broker's share, in threads, side by side; wait for so many `seconds`."""
        earlier = [broker for broker in wanted if (what, broker) in self._under_way]
        asking = {
            broker: self._asked(what, broker, some, ask)
            for broker, some in wanted.items()
            if late or broker not in earlier
        }
        found: dict[Partition, T] = {}
        failures: list[Failure] = []
        if asking:
            await asyncio.wait(asking.values(), timeout=seconds)
        for broker, future in asking.items():
            if not future.done():
                failures.append(Failure(Trouble.PASSING, _silent(what, broker, seconds)))
            elif (error := future.exception()) is not None:
                if not isinstance(error, KafkaError | LogError | OSError | RuntimeError):
                    raise error
                failures.append(Failure(Trouble.PASSING, f"{what}: {error}"))
            else:
                some, wrong = future.result()
                found.update(
                    {partition: some[partition] for partition in wanted[broker] if partition in some}
                )
                failures.extend(wrong)
        failures += [
            Failure(Trouble.PASSING, _silent(what, broker, seconds))
            for broker in wanted.keys() - asking.keys()
        ]
        return Asked(found, failures, late=bool(earlier))

    def _asked(
        self,
        what: str,
        broker: int,
        partitions: Collection[Partition],
        ask: Callable[[Collection[Partition]], Answer[T]],
    ) -> asyncio.Future[Answer[T]]:
        key = what, broker
        late = self._under_way.get(key)
        if late is not None:
            return late
        future = asyncio.get_running_loop().run_in_executor(self._threads, ask, partitions)
        self._under_way[key] = future
        future.add_done_callback(partial(self._answered, key))
        return future

    def _answered(self, key: tuple[str, int], future: asyncio.Future[Answer[Any]]) -> None:
        del self._under_way[key]
        if not future.cancelled():
            future.exception()  # or one that nobody waits for any more would be complained of

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _silent(what: str, broker: int, seconds: float) -> str:
    who = "Kafka" if broker == NOBODY else f"broker {broker}"
    return f"{what}: {who} did not answer in {seconds:g} s"
