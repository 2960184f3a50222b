"""The topics of a service, by name, and what each needs. The one place that spells topic names."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from bufferproxy.log.contract import Keep, Topic
from bufferproxy.sizes import ANSWER, LEAST_HEADROOM

TIERS: tuple[float, ...] = tuple(0.25 * 4**n for n in range(10))
"""Seconds that a record waits in partition n of `.delayed`: 0.25 s to 18.2 h."""


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
    def of(cls, service: str, prefix: str = "bufferproxy", *, priorities: bool = False) -> ServiceTopics:
        """All that ask for one service share it."""
        base = f"{prefix}.{service}"
        kinds = ("requests", "delayed", "parked", "states", "results", "dead")
        return cls._make((*(f"{base}.{kind}" for kind in kinds), base, priorities))

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
    parks: bool = False,
    headroom: int = LEAST_HEADROOM,
) -> tuple[Topic, ...]:
    """What the service needs: sizes in bytes, times in seconds; `parks`: keys can be blocked; `headroom`:
    what a request needs beside its body (`sizes.headroom`)."""
    open_, request = Keep(committed_by=names.group), body + headroom
    parked = (Topic(names.parked, partitions, open_, request, copies=True),) if parks else ()
    return (
        # What is redriven was accepted before, perhaps under larger limits.
        *(Topic(name, partitions, open_, request, copies=True) for name in names.fresh),
        Topic(names.delayed, len(TIERS), open_, request, copies=True),
        *parked,
        Topic(names.states, partitions, Keep(seconds=keep_dead, compact=True), LEAST_HEADROOM),
        Topic(names.results, partitions, Keep(seconds=keep_results + 3600), reply + LEAST_HEADROOM),
        Topic(
            names.dead,
            partitions,
            Keep(seconds=keep_dead, compact=True),
            request + ANSWER,
            copies=True,
        ),
    )


def holds_fresh_requests(topic: str) -> bool:
    """What was just accepted goes there, so an append to it can still be refused to the caller."""
    return topic.endswith((".requests", ".requests.high", ".requests.low"))
