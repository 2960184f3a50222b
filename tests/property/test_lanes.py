"""KeyedLanes against a model: one of each key at a time, in the order of the log, nothing lost."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bufferproxy.drain.keyed import KeyedLanes
from bufferproxy.drain.lanes import Item
from bufferproxy.drain.window import Window
from bufferproxy.records import Partition, Position, Request

PARTITIONS = 2
TOPIC = "bufferproxy.a.requests"


def partition_of(key: bytes) -> int:
    return key[0] % PARTITIONS


class KeyedLanesMachine(RuleBasedStateMachine):
    """`log`: of each key, what was offered and neither ended nor left with its partition, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes = KeyedLanes()
        self.log: dict[bytes, list[Item]] = {}
        self.free: list[Item] = []
        self.taken: list[Item] = []
        self.stale: list[Item] = []
        self.number = 0

    @rule(key=st.sampled_from([None, b"a", b"b", b"c", b"d"]), where=st.integers(0, PARTITIONS - 1))
    def offer(self, key: bytes | None, where: int) -> None:
        self.number += 1
        number = where if key is None else partition_of(key)
        position = Position(Partition(TOPIC, number), self.number)
        item = Item(Request(str(self.number), position, key, b"", b"", 0, 0), Window(0, 1))
        (self.free if key is None else self.log.setdefault(key, [])).append(item)
        self.lanes.offer(item)

    @rule()
    def take(self) -> None:
        item = self.lanes._next()
        if item is None:
            # Nobody waits who could go: each key with something open has its first one out.
            assert all(item in self.taken for item in self.free)
            assert all(lane[0] in self.taken for lane in self.log.values() if lane)
            return
        assert item not in self.taken
        assert item not in self.stale
        key = item.request.key
        if key is None:
            assert item in self.free
        else:
            assert item is self.log[key][0]
        self.taken.append(item)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def put_back(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.taken))
        self.taken.remove(item)
        self.lanes.put_back(item)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.taken))
        self.taken.remove(item)
        (self.free if item.request.key is None else self.log[item.request.key]).remove(item)
        self.lanes.ended(item)

    @rule(number=st.integers(0, PARTITIONS - 1))
    def discard(self, number: int) -> None:
        gone = Partition(TOPIC, number)
        self.stale += [item for item in self.taken if item.partition == gone]
        self.taken = [item for item in self.taken if item.partition != gone]
        self.free = [item for item in self.free if item.partition != gone]
        for key in self.log:
            if partition_of(key) == number:
                self.log[key] = []
        self.lanes.discard([gone])

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def hear_of_one_that_left(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.stale))
        self.stale.remove(item)
        self.lanes.ended(item)

    @invariant()
    def it_counts_what_was_not_taken(self) -> None:
        open_ = len(self.free) + sum(map(len, self.log.values()))
        assert len(self.lanes) == open_ - len(self.taken)


TestKeyedLanes = KeyedLanesMachine.TestCase
TestKeyedLanes.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
