"""The topics of a service, by name, and what each needs. The one place that spells topic names."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from bufferproxy.log.contract import Keep, Topic
from bufferproxy.records import Partition
from bufferproxy.sizes import ANSWER, LEAST_HEADROOM

TIERS: tuple[float, ...] = tuple(0.25 * 4**n for n in range(10))
"""Seconds that a record waits in partition n of `.delayed`: 0.25 s to 18.2 h."""

RESULTS_PARTITIONS = 4
"""Of `.results`, where several processes share a log: each proxy follows those that it gave out."""


class ServiceTopics(NamedTuple):
    """Names of one service's topics, and the group that drains it. `priorities`: three topics of requests in
    place of one."""

    requests: str
    delayed: str
    parked: str
    states: str
    results: str
    dead: str
    group: str
    priorities: bool = False

    @classmethod
    @lru_cache(maxsize=1024)
    def of(
        cls,
        service: str,
        prefix: str = "bufferproxy",
        *,
        priorities: bool = False,
        group: str | None = None,
    ) -> ServiceTopics:
        """All that ask for one service share it. `group`: by default one of the service's own."""
        base = f"{prefix}.{service}"
        kinds = ("requests", "delayed", "parked", "states", "results", "dead")
        return cls._make((*(f"{base}.{kind}" for kind in kinds), group or base, priorities))

    @property
    def states_place(self) -> Partition:
        """`.states` and `.dead` have one partition each: little is written to them."""
        return Partition(self.states, 0)

    @property
    def dead_place(self) -> Partition:
        return Partition(self.dead, 0)

    @property
    def high(self) -> str:
        return self.requests + ".high"

    @property
    def low(self) -> str:
        return self.requests + ".low"

    @property
    def fresh(self) -> tuple[str, ...]:
        """Those of requests in the order they were accepted, in the order of their numbers in ids."""
        return (self.requests, self.high, self.low) if self.priorities else (self.requests,)

    @property
    def open(self) -> tuple[str, ...]:
        """Those that hold requests which have not ended."""
        return (*self.fresh, self.delayed, self.parked)


def topics_of(
    names: ServiceTopics,
    *,
    partitions: int,
    body: int,
    reply: int,
    keep_results: float,
    keep_dead: float,
    results: int = 1,
    parks: bool = False,
    headroom: int = LEAST_HEADROOM,
) -> tuple[Topic, ...]:
    """What the service needs: sizes in bytes, times in seconds; `partitions` of requests, `results` of
    `.results`; `parks`: keys can be blocked; `headroom`:
    what a request needs beside its body (`sizes.headroom`)."""
    open_, request = Keep(committed_by=names.group), body + headroom
    parked = (Topic(names.parked, partitions, open_, request, copies=True),) if parks else ()
    return (
        # What is redriven was accepted before, perhaps under larger limits.
        *(Topic(name, partitions, open_, request, copies=True) for name in names.fresh),
        Topic(names.delayed, len(TIERS), open_, request, copies=True),
        *parked,
        Topic(names.states, 1, Keep(seconds=keep_dead, compact=True), LEAST_HEADROOM),
        Topic(names.results, results, Keep(seconds=keep_results + 3600), reply + LEAST_HEADROOM),
        Topic(
            names.dead,
            1,
            Keep(seconds=keep_dead, compact=True),
            request + ANSWER,
            copies=True,
        ),
    )


def holds_fresh_requests(topic: str) -> bool:
    """What was just accepted goes there, so an append to it can still be refused to the caller."""
    return topic.endswith((".requests", ".requests.high", ".requests.low"))
