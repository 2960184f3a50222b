"""Records from an I/O thread to the loop: bounded in bytes and number, handed over in whole batches."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

from bufferproxy.errors import LogUnavailable
from bufferproxy.records import Partition, Record

BYTES = 16 << 20
"""Bytes of fetched records that wait for the loop, before no more are asked for."""
RECORDS = 8000


class Feed:
    """`offer` and `full_until` belong to the I/O thread, `post` to any, the rest to the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready: deque[tuple[Sequence[Record], int]] = deque()
        self._arrived = asyncio.Event()
        self._failure: Exception | None = None
        self._closed = False
        # Each of the four counters has one writer, so that no thread can undo another's addition.
        self._offered = self._offered_bytes = 0
        self._taken = self._taken_bytes = 0
        self._tell: Callable[[], object] | None = None

    # --- the I/O thread -----------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        return self._offered_bytes - self._taken_bytes >= BYTES or self._offered - self._taken >= RECORDS

    def full_until(self, tell: Callable[[], object]) -> bool:
        """Whether it is full; then `tell` is called, once, when there is room (on the loop)."""
        if self.full:
            self._tell = tell
        return self.full  # again: what was taken before `tell` was there told nobody

    def offer(self, records: Sequence[Record], size: int) -> None:
        self._offered += len(records)
        self._offered_bytes += size
        self.post(self._arrive, records, size)

    def post(self, call: Callable[..., object], *arguments: Any) -> bool:
        """Calls it on the loop, after all that was posted before. False: the loop has ended."""
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            return False
        return True

    # --- the loop -----------------------------------------------------------------------------------------

    @property
    def empty(self) -> bool:
        """Whatever was offered is taken."""
        return self._offered == self._taken

    def _arrive(self, records: Sequence[Record], size: int) -> None:
        self._ready.append((records, size))
        if isinstance(self._failure, LogUnavailable):
            self._failure = None
        self._arrived.set()

    def fail(self, failure: Exception) -> None:
        """The next `take` that finds nothing raises this, once. A bug is the last word of a thread that is
        over: neither another failure nor a batch of another thread takes it back."""
        if self._failure is None or isinstance(self._failure, LogUnavailable):
            self._failure = failure
        self._arrived.set()

    async def take(self) -> Sequence[Record]:
        """A batch, as soon as there is one. Cancelled, it has taken nothing."""
        while True:
            while self._ready:
                records, size = self._ready.popleft()
                self._took(len(records), size)
                if records:
                    return records
            if self._closed:
                raise LogUnavailable("closed")
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            self._arrived.clear()
            await self._arrived.wait()

    def drop(self, partitions: Collection[Partition]) -> None:
        """Forget what waits of these."""
        for _ in range(len(self._ready)):
            records, size = self._ready.popleft()
            kept = [record for record in records if record.partition not in partitions]
            self._taken += len(records) - len(kept)
            self._ready.append((kept, size))

    def close(self) -> None:
        self._closed = True
        self._ready.clear()
        self._arrived.set()

    def _took(self, records: int, size: int) -> None:
        self._taken += records
        self._taken_bytes += size
        # At half, not at the last record: the I/O thread needs a moment to come back.
        if (
            self._tell is not None
            and self._offered_bytes - self._taken_bytes <= BYTES // 2
            and self._offered - self._taken <= RECORDS // 2
        ):
            tell, self._tell = self._tell, None
            tell()

    def __repr__(self) -> str:
        return (
            f"<Feed {self._offered - self._taken} records, {self._offered_bytes - self._taken_bytes} bytes>"
        )
