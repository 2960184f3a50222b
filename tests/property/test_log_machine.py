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

from bufferproxy.log.contract import Keep
from bufferproxy.records import Partition
from bufferproxy.testing.log_backends import MemoryBackend, SqliteBackend
from bufferproxy.testing.log_world import PATIENCE, Backend, Member, World

T = TypeVar("T")

PARTITIONS = 3
numbers = st.integers(0, PARTITIONS - 1)


class LogMachine(RuleBasedStateMachine):
    """The model: what was acknowledged in each partition, where the group has committed, and how far each
    member has read since it was granted the partition."""

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
        self.committed = dict.fromkeys(self.partitions, 0)
        self.trimmed = dict.fromkeys(self.partitions, 0)
        self.members: list[Member] = []
        self.read: dict[Partition, int] = {}
        self.paused: set[Partition] = set()
        self.former: list[tuple[Partition, int]] = []
        self.leases: dict[Partition, int] = {}

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

    @precondition(lambda self: self.members)
    @rule(which=st.integers(0, 2))
    def leave(self, which: int) -> None:
        member = self.members.pop(which % len(self.members))
        self.run(self.world.leave(member))
        self._deal(without=member)

    @precondition(lambda self: self.members)
    @rule(which=st.integers(0, 2))
    def fetch(self, which: int) -> None:
        member = self.members[which % len(self.members)]
        ready = {p: self._unread(p) for p in member.holding.leases if p not in self.paused}
        if not any(ready.values()):
            return
        for record in self.run(member.reader.fetch()):
            offset, value = ready[record.partition].pop(0)
            assert (record.offset, record.value) == (offset, value)
            self.read[record.partition] = member.reader.after(record)

    @rule(number=numbers, share=st.floats(0, 1))
    def commit(self, number: int, share: float) -> None:
        partition = self.partitions[number]
        if partition not in self.leases:
            return
        begin = self.committed[partition]
        offset = begin + int((self.read[partition] - begin) * share)
        holder = self._holder(partition)
        lost = self.run(holder.reader.commit({partition: (self.leases[partition], offset)}))
        assert not lost
        self.committed[partition] = max(begin, offset)

    @precondition(lambda self: self.members and self.former)
    @rule(which=st.integers(0, 2), data=st.data())
    def commit_what_is_no_longer_held(self, which: int, data: st.DataObject) -> None:
        partition, epoch = data.draw(st.sampled_from(self.former))
        member = self.members[which % len(self.members)]
        assert set(self.run(member.reader.commit({partition: (epoch, 1 << 30)}))) == {partition}

    @rule(number=numbers)
    def pause_or_resume(self, number: int) -> None:
        partition = self.partitions[number]
        if partition not in self.leases:
            return
        reader = self._holder(partition).reader
        if partition in self.paused:
            reader.resume(partition)
        else:
            reader.pause(partition)
        self.paused ^= {partition}

    @rule()
    def trim(self) -> None:
        self.run(self.world.trim())
        self.trimmed = dict(self.committed)

    @rule()
    def crash(self) -> None:
        self.former += self.leases.items()
        self.run(self.world.crash())
        self.members.clear()
        self.leases.clear()
        self.paused.clear()

    # --- what must hold

    @invariant()
    def the_lag_is_that_of_the_list(self) -> None:
        if not hasattr(self, "runner"):
            return
        lags = self.run(self.world.log.lag(self.world.group, [self.partitions[0].topic]))
        for partition, lag in lags.items():
            open_ = [value for offset, value in self.stored[partition] if offset >= self.committed[partition]]
            assert lag.committed == self.committed[partition]
            assert (lag.records, lag.size) == (len(open_), sum(map(len, open_)))
            assert self.trimmed[partition] <= lag.start <= lag.committed <= lag.end

    @invariant()
    def what_is_open_can_be_read(self) -> None:
        if not hasattr(self, "runner"):
            return
        for partition in self.partitions:
            kept = [(r.offset, r.value) for r in self.run(self.world.read_all(partition))]
            open_ = [entry for entry in self.stored[partition] if entry[0] >= self.committed[partition]]
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
        for partition, (epoch, member) in leases.items():
            if partition not in self.leases:
                assert all(epoch > old for former, old in self.former if former == partition)
                lease = member.holding.leases[partition]
                assert lease.committed == self.committed[partition]
                self.leases[partition] = epoch
                self.read[partition] = lease.committed
                self.paused.discard(partition)

    def _unread(self, partition: Partition) -> list[tuple[int, bytes]]:
        return [entry for entry in self.stored[partition] if entry[0] >= self.read[partition]]

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
