"""Memory and SQLite against a list: any order of appends, fetches, commits, crashes and lost leases."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bufferproxy.log.contract import Keep, Topic
from bufferproxy.records import Partition, Record
from bufferproxy.testing.log_backends import MemoryBackend, SqliteBackend
from bufferproxy.testing.log_world import PATIENCE, Backend, Member, World

T = TypeVar("T")

PARTITIONS = 3
numbers = st.integers(0, PARTITIONS - 1)


class LogMachine(RuleBasedStateMachine):
    """The model: what was acknowledged in each partition, how many of these are settled, and how many were
    read under the present lease. It counts entries, so that it owes nothing to the log's offsets."""

    def backend(self) -> Backend:
        raise NotImplementedError

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(PATIENCE):
                return await step

        return self.runner.run(bounded())

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.stack = contextlib.AsyncExitStack()
        self.world: World = self.run(self.stack.enter_async_context(World.around(self.backend())))
        topic = self.run(self.world.topic(PARTITIONS, keep=Keep(committed_by=self.world.group)))
        self.partitions = [Partition(topic, number) for number in range(PARTITIONS)]
        self.stored: dict[Partition, list[tuple[int, bytes]]] = {p: [] for p in self.partitions}
        self.settled = dict.fromkeys(self.partitions, 0)
        self.records: dict[Partition, dict[int, Record]] = {p: {} for p in self.partitions}
        self.members: list[Member] = []
        self.read: dict[Partition, int] = {}
        self.paused: set[Partition] = set()
        self.former: list[tuple[Partition, int]] = []
        self.leases: dict[Partition, int] = {}
        self.join()

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.run(self.stack.aclose())
            self.runner.close()

    # --- what happens

    @rule(number=numbers, values=st.lists(st.binary(max_size=20), min_size=1, max_size=5))
    def append(self, number: int, values: list[bytes]) -> None:
        partition = self.partitions[number]
        positions = self.run(self.world.append(partition, *values))
        self.stored[partition] += [
            (position.offset, value) for position, value in zip(positions, values, strict=True)
        ]

    @precondition(lambda self: len(self.members) < 3)
    @rule()
    def join(self) -> None:
        self.members.append(self.run(self.world.join(self.partitions[0].topic)))
        self._deal()

    @precondition(lambda self: len(self.members) > 1)
    @rule(which=st.integers(0, 2))
    def leave(self, which: int) -> None:
        member = self.members.pop(which % len(self.members))
        self.run(self.world.leave(member))
        self._deal(without=member)

    @precondition(lambda self: self._who_can_fetch())
    @rule(data=st.data())
    def fetch(self, data: st.DataObject) -> None:
        member = self.members[data.draw(st.sampled_from(self._who_can_fetch()))]
        ready = {p: list(self._unread(p)) for p in member.holding.leases if p not in self.paused}
        for record in self.run(member.reader.fetch()):
            offset, value = ready[record.partition].pop(0)
            assert (record.offset, record.value) == (offset, value)
            self.records[record.partition][self.read[record.partition]] = record
            self.read[record.partition] += 1

    @precondition(lambda self: not self.paused)
    @rule(number=numbers, values=st.lists(st.binary(max_size=20), min_size=1, max_size=3), data=st.data())
    def pass_on(self, number: int, values: list[bytes], data: st.DataObject) -> None:
        """What mostly happens: something comes in, is read and settled."""
        self.append(number, values)
        self.fetch(data)
        self.commit(data)

    @precondition(lambda self: any(self.records[p] for p in self.leases))
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        partition = data.draw(st.sampled_from([p for p in self.partitions if self._committable(p)]))
        last = data.draw(st.sampled_from(sorted(self.records[partition])))
        reader = self._holder(partition).reader
        offset = reader.after(self.records[partition][last])
        assert not self.run(reader.commit({partition: (self.leases[partition], offset)}))
        self.settled[partition] = max(self.settled[partition], last + 1)

    @precondition(lambda self: self.members and self.former)
    @rule(which=st.integers(0, 2), data=st.data())
    def commit_what_is_no_longer_held(self, which: int, data: st.DataObject) -> None:
        partition, epoch = data.draw(st.sampled_from(self.former))
        member = self.members[which % len(self.members)]
        assert set(self.run(member.reader.commit({partition: (epoch, 1 << 30)}))) == {partition}

    @precondition(lambda self: self.leases)
    @rule(number=numbers)
    def pause_or_resume(self, number: int) -> None:
        partition = self.partitions[number]
        reader = self._holder(partition).reader
        if partition in self.paused:
            reader.resume(partition)
        else:
            reader.pause(partition)
        self.paused ^= {partition}

    @rule()
    def trim(self) -> None:
        self.run(self.world.trim())
        for partition in self.partitions:
            kept = self.run(self.world.read_all(partition))
            assert len(kept) == len(self._open(partition))

    @precondition(lambda self: any(self.stored.values()))
    @rule()
    def crash(self) -> None:
        self.former += self.leases.items()
        self.run(self.world.crash())
        terms = Topic(self.partitions[0].topic, PARTITIONS, Keep(committed_by=self.world.group))
        self.run(self.world.log.ensure([terms], create=False))  # as every start does
        self.members.clear()
        self.leases.clear()
        self.paused.clear()
        self.join()

    # --- what must hold

    @invariant()
    def the_lag_is_that_of_the_list(self) -> None:
        if not hasattr(self, "runner"):
            return
        lags = self.run(self.world.log.lag(self.world.group, [self.partitions[0].topic]))
        for partition, lag in lags.items():
            open_ = [value for _, value in self._open(partition)]
            assert (lag.records, lag.size) == (len(open_), sum(map(len, open_)))
            assert lag.start <= lag.committed <= lag.end
            assert (lag.committed < lag.end) == bool(open_)

    @invariant()
    def what_is_open_can_be_read(self) -> None:
        if not hasattr(self, "runner"):
            return
        for partition in self.partitions:
            kept = [(r.offset, r.value) for r in self.run(self.world.read_all(partition))]
            open_ = self._open(partition)
            assert kept[len(kept) - len(open_) :] == open_

    # --- the model's own

    def _deal(self, without: Member | None = None) -> None:
        """Takes over what the members were granted: each partition once, with a new epoch if it moved."""
        leases = {p: (lease.epoch, m) for m in self.members for p, lease in m.holding.leases.items()}
        assert sum(len(member.holding.leases) for member in self.members) == len(leases)
        assert len(leases) == (PARTITIONS if self.members else 0)
        for partition, epoch in list(self.leases.items()):
            if partition not in leases or leases[partition][0] != epoch:
                self.former.append((partition, self.leases.pop(partition)))
        for partition, (epoch, _) in leases.items():
            if partition not in self.leases:
                assert all(epoch > old for former, old in self.former if former == partition)
                self.leases[partition] = epoch
                self.read[partition] = self.settled[partition]
                self.records[partition].clear()
                self.paused.discard(partition)

    def _unread(self, partition: Partition) -> list[tuple[int, bytes]]:
        return self.stored[partition][self.read[partition] :]

    def _who_can_fetch(self) -> list[int]:
        return [
            which
            for which, member in enumerate(self.members)
            if any(self._unread(p) for p in member.holding.leases if p not in self.paused)
        ]

    def _committable(self, partition: Partition) -> bool:
        return partition in self.leases and bool(self.records[partition])

    def _open(self, partition: Partition) -> list[tuple[int, bytes]]:
        return self.stored[partition][self.settled[partition] :]

    def _holder(self, partition: Partition) -> Member:
        (holder,) = [member for member in self.members if partition in member.holding.leases]
        return holder


class MemoryMachine(LogMachine):
    def backend(self) -> Backend:
        return MemoryBackend()


class SqliteMachine(LogMachine):
    def backend(self) -> Backend:
        self.folder = Path(tempfile.mkdtemp())
        return SqliteBackend(self.folder)

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


TestMemoryLogAgainstAList = MemoryMachine.TestCase
TestMemoryLogAgainstAList.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestSqliteLogAgainstAList = SqliteMachine.TestCase
TestSqliteLogAgainstAList.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
