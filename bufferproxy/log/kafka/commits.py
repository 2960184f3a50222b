"""Commits of one member: gated by its own leases, never back, one request at a time for all services.

The broker checks the member and its generation, not who owns the partition, and a client puts in the
generation of the moment of sending. So a commit that waits or is tried again must pass the gate again, and a
partition is let go only when no commit is under way (`quiet`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from bufferproxy.errors import LogUnavailable
from bufferproxy.log.contract import Lease
from bufferproxy.log.kafka.engine import Committed, Failure, Trouble
from bufferproxy.records import Partition

PATIENCE_SECONDS = 8.0
"""Within which a commit is tried again."""
RETRY_SECONDS = 0.05

_Commit = tuple[int, str]
"""The next offset, and its marks."""
_NOTHING: _Commit = (-1, "")

Send = Callable[[Mapping[Partition, _Commit], Committed], None]
"""Sends one request; the answer is told on the loop."""


class Commits:
    def __init__(self, send: Send) -> None:
        self._send_request = send
        self._leases: dict[Partition, Lease] = {}
        self._wanted: dict[Partition, _Commit] = {}
        self._done: dict[Partition, _Commit] = {}
        self._sending = asyncio.Lock()

    def begin(self, leases: Mapping[Partition, Lease]) -> None:
        for partition, lease in leases.items():
            self._leases[partition] = lease
            self._done[partition] = lease.committed, lease.marks
            self._wanted.pop(partition, None)

    def forget(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self._leases.pop(partition, None)
            self._done.pop(partition, None)
            self._wanted.pop(partition, None)

    def done(self) -> Mapping[Partition, int]:
        """Of each lease, the next offset as last committed or found."""
        return {partition: offset for partition, (offset, _) in self._done.items()}

    async def commit(
        self, offsets: Mapping[Partition, tuple[int, int]], marks: Mapping[Partition, str]
    ) -> Collection[Partition]:
        """As LogReader.commit."""
        mine: dict[Partition, _Commit] = {}
        for partition, (epoch, offset) in offsets.items():
            if self._holds(partition, epoch) and offset >= self._wanted.get(partition, _NOTHING)[0]:
                mine[partition] = self._wanted[partition] = offset, marks.get(partition, "")
        refused: Collection[Partition] = ()
        if mine:
            # Cancelled, the request goes on, and the next one waits for it: they cannot overtake each other.
            refused = await asyncio.shield(asyncio.ensure_future(self._send_wanted(mine)))
        return {
            partition
            for partition, (epoch, _) in offsets.items()
            if partition in refused or not self._holds(partition, epoch)
        }

    async def quiet(self) -> None:
        """Returns when no commit is under way."""
        async with self._sending:
            pass

    def _holds(self, partition: Partition, epoch: int) -> bool:
        lease = self._leases.get(partition)
        return lease is not None and lease.epoch == epoch

    async def _send_wanted(self, mine: Mapping[Partition, _Commit]) -> Collection[Partition]:
        """Everything that is wanted by now, in one request. Returns what was refused of `mine`."""
        async with self._sending:
            deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
            while True:
                wanted = self._open()
                if mine.keys().isdisjoint(wanted):
                    return ()  # it went with a request before this one
                failure = await self._send(wanted)
                if failure is None:
                    self._done.update({p: each for p, each in wanted.items() if p in self._leases})
                    return ()
                if failure.trouble in (Trouble.NOT_A_MEMBER, Trouble.FENCED):
                    # The group went on without us; `lost` is on its way from the next poll.
                    self._wanted.clear()
                    return wanted.keys()
                again = failure.trouble in (Trouble.REBALANCING, Trouble.PASSING)
                if not again or asyncio.get_running_loop().time() > deadline:
                    raise LogUnavailable(f"committing: {failure.text}")
                await asyncio.sleep(RETRY_SECONDS)

    def _open(self) -> dict[Partition, _Commit]:
        """What is wanted, of what is still held and not committed yet."""
        self._wanted = {
            partition: commit
            for partition, commit in self._wanted.items()
            if partition in self._leases
            and commit[0] >= self._done[partition][0]
            and commit != self._done[partition]
        }
        return dict(self._wanted)

    async def _send(self, commits: Mapping[Partition, _Commit]) -> Failure | None:
        answered: asyncio.Future[Failure | None] = asyncio.get_running_loop().create_future()

        def answer(failure: Failure | None) -> None:
            if not answered.done():
                answered.set_result(failure)

        self._send_request(commits, answer)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await answered
        except TimeoutError:
            return Failure(Trouble.PASSING, f"no answer in {PATIENCE_SECONDS:g} s")
