"""How much lies before each group, from what brokers answer: exact, or as of the last answer."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from bufferproxy.clock import Clock
from bufferproxy.errors import LogError, LogUnavailable
from bufferproxy.log.contract import Lag
from bufferproxy.log.kafka.asked import Commit
from bufferproxy.log.kafka.offsets import Offsets
from bufferproxy.log.kafka.topics import Topics
from bufferproxy.log.kafka.troubles import Troubles
from bufferproxy.records import Partition

STARTS_SECONDS = 30.0
"""For which the starts of partitions are believed: they only move when settled records are deleted."""
SIZES_SECONDS = 60.0
EXACT_SECONDS = 7.0
"""That an answer is waited for where an old one will not do. Who has just made a thousand topics is slow."""


class Measure:
    def __init__(self, offsets: Offsets, topics: Topics, clock: Clock, troubles: Troubles) -> None:
        self._offsets = offsets
        self._topics = topics
        self._clock = clock
        self._troubles = troubles
        self._starts: dict[Partition, int] = {}
        self._starts_at = -STARTS_SECONDS
        self._ends: dict[Partition, int] = {}
        self._commits: dict[tuple[str, Partition], Commit | None] = {}
        self._bytes: dict[Partition, tuple[int, int]] = {}
        """Bytes of each partition, and the records they were of."""
        self._sizes_at = -SIZES_SECONDS
        self._sizing: asyncio.Task[None] | None = None

    async def exact(self, group: str, topics: Sequence[str]) -> Mapping[Partition, Lag]:
        """As LogInspector.lag. Raises LogUnavailable when any of it is not known now."""
        await self._offsets.learn(topics)
        partitions = self._partitions(topics)
        missing = await self._ask(group, partitions, starts=True)
        if missing:
            why = next(iter(missing.values()))
            raise LogUnavailable(f"measuring the lag: {why}")
        self._measure_sizes(topics)
        return {partition: self._lag(group, partition) for partition in partitions}

    async def all(
        self, wanted: Mapping[str, tuple[str, Sequence[str]]]
    ) -> Mapping[str, Mapping[Partition, Lag]]:
        """As LogInspector.lags: all of it with one question to each broker."""
        await self._offsets.learn({topic for _, topics in wanted.values() for topic in topics})
        groups: dict[str, list[Partition]] = {}
        for group, topics in wanted.values():
            groups.setdefault(group, []).extend(self._partitions(topics))
        now = self._clock.now()
        starts = now - self._starts_at >= STARTS_SECONDS
        if starts:
            self._starts_at = now
        unknown: dict[Partition, str] = {}
        for group, partitions in groups.items():
            unknown.update(await self._ask(group, partitions, starts=starts, seconds=None))
        self._measure_sizes({topic for _, topics in wanted.values() for topic in topics})
        found: dict[str, Mapping[Partition, Lag]] = {}
        for name, (group, topics) in wanted.items():
            found[name] = {
                p: self._lag(group, p)._replace(stale=p in unknown)
                for p in self._partitions(topics)
                if p in self._ends
            }
        if unknown and not any(found.values()):
            raise LogUnavailable(f"measuring the lag: {next(iter(unknown.values()))}")
        return found

    def _partitions(self, topics: Iterable[str]) -> list[Partition]:
        return [
            Partition(topic, number) for topic in topics for number in range(self._offsets.partitions(topic))
        ]

    async def _ask(
        self,
        group: str,
        partitions: Collection[Partition],
        *,
        starts: bool,
        seconds: float | None = EXACT_SECONDS,
    ) -> Mapping[Partition, str]:
        """Returns those of which something was not answered, and why. `seconds` that an answer is waited for;
        None: a moment, and that to an earlier question will do."""
        how: dict[str, Any] = {"late": True} if seconds is None else {"seconds": seconds}
        if not partitions:
            return {}
        unknown: dict[Partition, str] = {}
        reasons: list[str] = []
        if group:
            # Before the ends: so a commit beyond one is of records that Kafka has lost.
            committed = await self._offsets.committed(group, partitions, **how)
            self._commits.update({(group, p): commit for p, commit in committed.found.items()})
            reasons += [failure.text for failure in committed.failures]
            unknown.update(dict.fromkeys(set(partitions) - committed.found.keys(), ""))
        # A start that is not known yet is asked for, whatever is believed of the others.
        new = partitions if starts else [p for p in partitions if p not in self._starts]
        asks = [
            self._offsets.ends(partitions, **how),
            *([self._offsets.starts(new, **how)] if new else []),
        ]
        ends, *begins = await asyncio.gather(*asks)
        self._ends.update(self._not_before_commits(group, ends.found) if ends.late else ends.found)
        unknown.update(dict.fromkeys(set(partitions) - ends.found.keys(), ""))
        for begin in begins:
            self._starts.update(begin.found)
            if starts:
                unknown.update(dict.fromkeys(set(partitions) - begin.found.keys(), ""))
        for failure in (*ends.failures, *(f for begin in begins for f in begin.failures)):
            reasons.append(failure.text)
            self._troubles.tell(failure)
        why = "; ".join(dict.fromkeys(reasons)) or "no answer"
        return dict.fromkeys(unknown, why)

    def _not_before_commits(self, group: str, ends: Mapping[Partition, int]) -> Mapping[Partition, int]:
        """An end that was asked for before the commit does not show that Kafka has lost what lies between."""
        commits = {p: commit.offset for p in ends if (commit := self._commits.get((group, p))) is not None}
        return {partition: max(end, commits.get(partition, 0)) for partition, end in ends.items()}

    def _lag(self, group: str, partition: Partition) -> Lag:
        end = self._ends[partition]
        start = min(self._starts.get(partition, 0), end)
        commit = self._commits.get((group, partition))
        known = commit is not None and start <= commit.offset <= end
        at = commit.offset if known and commit is not None else start
        lag = Lag(start, at, end, end - at, self._size(partition, end - at))
        return lag.without(commit.marks) if known and commit is not None else lag

    # --- bytes

    def _size(self, partition: Partition, records: int) -> int:
        """Of so many records of it: batches differ, so it is an estimate."""
        size, of = self._bytes.get(partition, (0, 0))
        return size * records // of if of else 0

    def _measure_sizes(self, topics: Collection[str]) -> None:
        now = self._clock.now()
        if now - self._sizes_at >= SIZES_SECONDS and (self._sizing is None or self._sizing.done()):
            self._sizes_at = now
            self._sizing = asyncio.ensure_future(self._look_at_sizes(list(topics)))

    async def _look_at_sizes(self, topics: Collection[str]) -> None:
        try:
            sizes = await asyncio.to_thread(self._topics.sizes, topics)
        except LogError:
            return  # not authorized, or away: the estimate of before stands
        for partition, size in sizes.items():
            records = self._ends.get(partition, 0) - self._starts.get(partition, 0)
            if records > 0:
                self._bytes[partition] = size, records

    def close(self) -> None:
        if self._sizing is not None:
            self._sizing.cancel()
