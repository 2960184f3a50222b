"""Commits of one reader: gated by its own leases, never back, one request at a time.

The broker checks the member and its generation, not who owns the partition, and the library puts in the
generation of the moment of sending. So a commit that waits or is tried again must pass the gate again, and a
partition is let go only when no commit is under way (`quiet`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from kafka import TopicPartition
from kafka.errors import (
    CommitFailedError,
    FencedInstanceIdError,
    KafkaError,
    RebalanceInProgressError,
    RetriableError,
)
from kafka.structs import OffsetAndMetadata

from bufferproxy.errors import LogUnavailable
from bufferproxy.log.contract import Lease
from bufferproxy.log.kafka.options import describe
from bufferproxy.records import Partition

PATIENCE = 8.0
"""Seconds within which a commit is tried again."""
PAUSE = 0.05

_Commit = tuple[int, str]
"""The next offset, and its marks."""
_NOTHING: _Commit = (-1, "")


class Commits:
    def __init__(self, consumer: Any, leases: Mapping[Partition, Lease]) -> None:
        self._consumer = consumer
        self._leases = leases
        self._wanted: dict[Partition, _Commit] = {}
        self._done: dict[Partition, _Commit] = {}
        self._sending = asyncio.Lock()

    def begin(self, leases: Mapping[Partition, Lease]) -> None:
        for partition, lease in leases.items():
            self._done[partition] = lease.committed, lease.marks
            self._wanted.pop(partition, None)

    def done(self, partition: Partition) -> int:
        """The next offset, as last committed or found."""
        return self._done[partition][0]

    async def commit(
        self, offsets: Mapping[Partition, tuple[int, int]], marks: Mapping[Partition, str]
    ) -> Collection[Partition]:
        """As LogReader.commit."""
        for partition, (epoch, offset) in offsets.items():
            if self._holds(partition, epoch) and offset >= self._wanted.get(partition, _NOTHING)[0]:
                self._wanted[partition] = offset, marks.get(partition, "")
        refused: Collection[Partition] = ()
        if self._wanted:
            # Cancelled, the request goes on, and the next one waits for it: they cannot overtake each other.
            refused = await asyncio.shield(asyncio.ensure_future(self._send_wanted()))
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

    async def _send_wanted(self) -> Collection[Partition]:
        """Everything that is wanted by now, in one request. Returns what was refused."""
        async with self._sending:
            deadline = asyncio.get_running_loop().time() + PATIENCE
            while True:
                wanted = self._open()
                if not wanted:
                    return ()
                failure = await self._send(wanted)
                if failure is None:
                    self._done.update(wanted)
                    return ()
                if _lost(failure):
                    # The group went on without us; `lost` is on its way from the next poll.
                    self._wanted.clear()
                    return wanted.keys()
                if not _again(failure) or asyncio.get_running_loop().time() > deadline:
                    raise LogUnavailable(f"committing: {describe(failure)}") from failure
                await asyncio.sleep(PAUSE)

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

    async def _send(self, commits: Mapping[Partition, _Commit]) -> BaseException | None:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[BaseException | None] = loop.create_future()

        def answer(failure: BaseException | None) -> None:
            if not answered.done():
                answered.set_result(failure)

        # One request and its own answer. `commit_async` returns the answer to another question when the
        # coordinator is not known, and `commit` tries again by itself, past the gate.
        coordinator = self._consumer._coordinator
        places = {
            TopicPartition(*partition): OffsetAndMetadata(offset, marks, -1)
            for partition, (offset, marks) in commits.items()
        }
        try:
            future = self._consumer._manager.call_soon(coordinator._send_offset_commit_request, places)
        except (KafkaError, RuntimeError) as error:  # the client is closed, or its I/O loop has crashed
            return error
        future.add_callback(lambda _: loop.call_soon_threadsafe(answer, None))
        future.add_errback(lambda error: loop.call_soon_threadsafe(answer, error))
        try:
            async with asyncio.timeout(PATIENCE):
                return await answered
        except TimeoutError:
            return TimeoutError(f"no answer in {PATIENCE:g} s")


def _rebalancing(failure: BaseException) -> bool:
    cause = failure.args[0] if failure.args else None
    return isinstance(failure, RebalanceInProgressError) or isinstance(cause, RebalanceInProgressError)


def _lost(failure: BaseException) -> bool:
    return isinstance(failure, CommitFailedError | FencedInstanceIdError) and not _rebalancing(failure)


def _again(failure: BaseException) -> bool:
    """A rebalance ends and a coordinator is found; a request without an answer is as good as its repeat."""
    return (
        _rebalancing(failure) or isinstance(failure, RetriableError) or getattr(failure, "retriable", False)
    )
