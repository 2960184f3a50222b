"""What an ordinary end costs the view of results, CPU of all threads: `python -m benchmarks.results_view`."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path

from bufferproxy.clock import SystemClock
from bufferproxy.envelope import entry_of
from bufferproxy.ids import REQUESTS, Identity, id_of, service_number
from bufferproxy.log.memory import MemoryLog
from bufferproxy.log.topics import ServiceTopics, topics_of
from bufferproxy.records import Change, Partition, Record, State
from bufferproxy.results.open import open_file
from bufferproxy.results.view import ResultsView

ENDS = 200_000
LOOK_UPS = 2_000
NAMES = ServiceTopics.of("a")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n"


def ends(partitions: int) -> list[Record]:
    """Accepted in turn in each partition, and ended in that order."""
    number, now = service_number("a"), time.time()
    at = int(now * 1000)
    records = []
    for count in range(ENDS):
        offset, partition = divmod(count, partitions)
        id_ = id_of(Identity(number, REQUESTS, partition, offset, 0, os.urandom(12)))
        entry = entry_of(Change(id_, State.DELIVERED, at, at, 1, 0, HEAD, b"ok"))
        records.append(Record(Partition(NAMES.results, 0), count, *entry, now))
    return records


async def measure(batch: int, partitions: int) -> None:
    records, clock = ends(partitions), SystemClock()
    log = MemoryLog(clock=clock)
    topics = topics_of(NAMES, partitions=1, body=99, reply=99, keep_results=900, keep_dead=900)
    await log.ensure(topics, create=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.db"
        index = await open_file(path, clock)
        view = ResultsView(log, index, [(NAMES, 900.0)], clock)
        tail = await view.start()
        began = time.process_time()
        for first in range(0, ENDS, batch):
            view._take_in(tail, records[first : first + batch])
            await asyncio.sleep(0)
        await index.forget(0)
        cpu = time.process_time() - began
        began = time.monotonic()
        for record in records[:: ENDS // LOOK_UPS]:
            assert len((await index.find((record.key or b"").decode())).ends) == 1
        look_up = time.monotonic() - began
        await index.close()
        size = path.stat().st_size
    print(
        f"{batch} at a time, {partitions} partitions: {cpu / ENDS * 1e6:.2f} us of CPU and"
        f" {size / ENDS:.0f} B of disk per end; a look-up takes {look_up / LOOK_UPS * 1e6:.0f} us"
    )


if __name__ == "__main__":
    for batch, partitions in ((200, 1), (20, 1), (200, 12)):
        asyncio.run(measure(batch, partitions))
