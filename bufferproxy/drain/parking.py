"""Blocked keys make room: their requests move to `.parked`, so that no other key waits behind them.

A key is blocked while its first request waits for its next attempt. Its followers stay in the window as
long as there is room. When the partition is full, the first request and all its followers are appended to
`.parked` of the same number, in their order, and then settled where they were. From then on whatever comes
of that key goes behind them, until nothing of it is parked any more.

Partition n of both topics has one holder. It counts what is parked of each key before it sends anything
fresh of partition n, so order holds through restarts and hand-overs. What a crash has left in both places
is known by `bufferproxy-from`: the copy is delivered, the original settled. Copies of a key are made one
after the other, so the last one tells how far they go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping

from bufferproxy.clock import Clock
from bufferproxy.drain.keyed import KeyedLanes
from bufferproxy.drain.lanes import Item
from bufferproxy.envelope import origin_of
from bufferproxy.errors import LogUnavailable
from bufferproxy.log.contract import Lease, LogInspector
from bufferproxy.log.marks import decode
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Partition, Record
from bufferproxy.wakeup import Wakeup

MOST_KEYS = 10_000
"""Keys of one partition that may be parked; then it waits until one of them is through."""


class Lot:
    """What is parked of one partition number: open copies of each key, and how far its originals are
    copied."""

    def __init__(self) -> None:
        self.counts: dict[bytes, int] = {}
        self.copied: dict[bytes, dict[str, int]] = {}
        """Of a key and a topic of requests: the highest offset that was copied, as far as the log tells."""
        self.read: dict[bytes, dict[str, int]] = {}
        """The same, of the copies that have been fetched."""
        self.leaving: dict[Partition, set[Item]] = defaultdict(set)
        """Originals whose copies are being made."""
        self.waiting: list[Item] | None = []
        """Fresh ones that came before everything was counted; None afterwards."""

    def add(self, key: bytes) -> None:
        self.counts[key] = self.counts.get(key, 0) + 1

    def remove(self, key: bytes) -> None:
        left = self.counts.get(key, 0) - 1
        if left > 0:
            self.counts[key] = left
        else:
            self.counts.pop(key, None)
            self.copied.pop(key, None)
            self.read.pop(key, None)

    def found(self, key: bytes, origin: tuple[str, int] | None) -> None:
        if not _again(self.copied, key, origin):
            self.add(key)

    def has_copied(self, key: bytes, topic: str, offset: int) -> bool:
        return offset <= self.copied.get(key, {}).get(topic, -1)


def _again(known: dict[bytes, dict[str, int]], key: bytes, origin: tuple[str, int] | None) -> bool:
    """Whether a copy of `origin` came before. Copies of a key are made in the order of their originals
    (`settle/lines.py`), so one that goes back was made twice: nobody knew whether the first append had
    worked, or its maker did not know yet that the partition was somebody else's."""
    if origin is None:
        return False
    topic, offset = origin
    offsets = known.setdefault(key, {})
    if offset <= offsets.get(topic, -1):
        return True
    offsets[topic] = offset
    return False


class Parking:
    """One service's. `park(item)` appends the copy and settles the original; `drop(item)` only settles it."""

    def __init__(
        self,
        topics: ServiceTopics,
        lanes: KeyedLanes,
        park: Callable[[Item], None],
        drop: Callable[[Item], None],
        clock: Clock,
    ) -> None:
        self._topics = topics
        self._lanes = lanes
        self._park = park
        self._drop = drop
        self._clock = clock
        self._lots: dict[int, Lot] = {}
        self._uncounted: dict[int, Lease] = {}
        self._wanted = Wakeup()

    def __len__(self) -> int:
        """Requests that wait for it to be counted."""
        return sum(len(lot.waiting or ()) for lot in self._lots.values())

    # --- leases

    def granted(self, leases: Mapping[Partition, Lease]) -> None:
        for partition, lease in leases.items():
            if partition.topic == self._topics.parked and partition.number not in self._lots:
                self._lots[partition.number] = Lot()
                self._uncounted[partition.number] = lease
                self._wanted.set()

    def forget(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            if partition.topic == self._topics.parked:
                self._lots.pop(partition.number, None)
                self._uncounted.pop(partition.number, None)

    async def run(self, log: LogInspector, group: str) -> None:
        """Counts what lies in newly leased partitions. Until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            for number, lease in tuple(self._uncounted.items()):
                try:
                    await self._count(log, group, number, lease)
                except LogUnavailable:
                    await self._clock.sleep(0.5)
                    self._wanted.set()

    async def _count(self, log: LogInspector, group: str, number: int, lease: Lease) -> None:
        place = Partition(self._topics.parked, number)
        end = (await log.lag(group, (self._topics.parked,)))[place].end
        lot, done = Lot(), decode(lease.marks, lease.committed).done
        async for page in log.pages(place, lease.committed, end):
            for record in page:
                if record.key is not None and not any(a <= record.offset < b for a, b in done):
                    lot.found(record.key, origin_of(record))
        waiting = self._lots.get(number)
        if self._uncounted.get(number) is not lease or waiting is None:
            return  # given to somebody else meanwhile, or given anew
        del self._uncounted[number]
        self._lots[number] = lot
        lot.read = waiting.read
        came, lot.waiting = waiting.waiting or (), None
        for item in came:
            if not self.takes(item):
                self._lanes.offer(item)

    # --- requests

    def repeats(self, record: Record) -> bool:
        """Whether this is a second copy. To be asked for each that is fetched, once."""
        lot = self._lots.get(record.partition.number)
        if lot is None or record.partition.topic != self._topics.parked or record.key is None:
            return False
        return _again(lot.read, record.key, origin_of(record))

    def takes(self, item: Item) -> bool:
        """True when it must not go to the lanes: it waits, is parked, or was parked before."""
        topic, number = item.partition
        lot = self._lots.get(number)
        if lot is None:
            return False  # a partition that is no longer ours
        if lot.waiting is not None:
            lot.waiting.append(item)
            return True
        key = item.request.key
        if topic not in self._topics.fresh or key not in lot.counts or key is None:
            return False
        if lot.has_copied(key, topic, item.request.position.offset):
            self._drop(item)
        else:
            self._leave(lot, item, key)
        return True

    def relieve(self, partition: Partition, enough: int) -> None:
        """`partition` is crowded: park blocked keys until `enough` requests have left it."""
        lot = self._lots.get(partition.number)
        topics = self._topics
        if lot is not None:
            enough -= len(lot.leaving[partition])
        if enough <= 0 or partition.topic not in topics.fresh or lot is None or len(lot.counts) >= MOST_KEYS:
            return
        # A key's lane may hold requests of all priorities, so its head may lie in another topic.
        beside = frozenset(Partition(topic, partition.number) for topic in topics.fresh)
        for item in self._lanes.take_out(partition, enough, beside):
            if item.timer is not None:
                item.timer.cancel()
                item.timer = None
            assert item.request.key is not None  # noqa: S101 - without a key there is no lane to be taken out of
            self._leave(lot, item, item.request.key)

    def _leave(self, lot: Lot, item: Item, key: bytes) -> None:
        lot.add(key)
        lot.leaving[item.partition].add(item)
        self._park(item)

    def settled(self, item: Item) -> None:
        """If it was a parked one, the next of its key may be fresh."""
        topic, number = item.partition
        lot = self._lots.get(number)
        if lot is None or item.request.key is None:
            return
        if topic == self._topics.parked:
            lot.remove(item.request.key)
        else:
            lot.leaving[item.partition].discard(item)

    def __repr__(self) -> str:
        keys = sum(len(lot.counts) for lot in self._lots.values())
        return f"<Parking {keys} keys in {len(self._lots)} partitions>"
