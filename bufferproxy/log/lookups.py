"""Single records by their positions. Those that are asked for together are read together.

A read costs the same for one record and for some that lie near it, and on Kafka some milliseconds of a client
that there is one of. Who asks while nobody reads of that partition reads at once, as if alone; whoever comes
meanwhile waits for one more read that is for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import inf

from bufferproxy.log.contract import LogInspector
from bufferproxy.records import Partition, Position, Record

SPAN = 64
"""Offsets that one read looks through at most, and ..."""
SPAN_BYTES = 1 << 20
"""... bytes of values, as far as the records read last tell of their size."""

Waiting = dict[int, asyncio.Future[Record | None]]
"""By offset."""


class RecordLookups:
    def __init__(self, log: LogInspector) -> None:
        self._log = log
        self._waiting: dict[Partition, Waiting] = {}
        """Of each partition that is being read, those that came meanwhile."""
        self._largest: dict[Partition, int] = {}
        """Bytes of the largest value in what was read last."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def record_at(self, position: Position) -> Record | None:
        """None: there is none with this offset (any more). Raises what `LogInspector.read` raises."""
        partition, offset = position
        waiting = self._waiting.get(partition)
        if waiting is not None:
            found = waiting.get(offset)
            if found is None:
                found = waiting[offset] = asyncio.get_running_loop().create_future()
            return await asyncio.shield(found)  # others wait for it too
        self._waiting[partition] = {}
        try:
            records = await self._read(position, 1)
        finally:
            self._go_on(partition)
        return records[0] if records and records[0].offset == offset else None

    def _go_on(self, partition: Partition) -> None:
        if not self._waiting[partition]:
            del self._waiting[partition]
            return
        task = asyncio.get_running_loop().create_task(self._read_together(partition))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read_together(self, partition: Partition) -> None:
        while waiting := self._waiting[partition]:
            self._waiting[partition] = {}
            try:
                await self._answer(partition, waiting)
            except Exception as failure:  # noqa: BLE001 - whatever it was, those that wait are told
                for found in waiting.values():
                    if not found.done():
                        found.set_exception(failure)
                        found.exception()  # nobody is left to see it when all hung up
        del self._waiting[partition]

    async def _answer(self, partition: Partition, waiting: Waiting) -> None:
        left = sorted(waiting)
        while left:
            first = left[0]
            span = min(SPAN, max(1, SPAN_BYTES // max(1, self._largest.get(partition, SPAN_BYTES))))
            last = max(offset for offset in left if offset < first + span)
            records = await self._read(Position(partition, first), last - first + 1)
            # Fewer than asked for: there are no more. Else all up to the last one were looked through.
            reached = records[-1].offset if len(records) > last - first else inf
            here = {record.offset: record for record in records}
            for offset in left:
                if offset <= reached:
                    waiting[offset].set_result(here.get(offset))
            left = [offset for offset in left if offset > reached]

    async def _read(self, position: Position, limit: int) -> Sequence[Record]:
        records = await self._log.read(position, limit)
        if records:
            self._largest[position.partition] = max([len(record.value) for record in records])
        return records

    def __repr__(self) -> str:
        return f"<RecordLookups of {len(self._waiting)} partitions>"
