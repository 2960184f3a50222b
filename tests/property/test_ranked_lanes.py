"""RankedLanes against a model: one of a key at a time, those of a key and a priority in their order."""

from __future__ import annotations

from typing import cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bufferproxy.clock import Timer
from bufferproxy.drain.lanes import Item
from bufferproxy.drain.ranked import RankedLanes
from bufferproxy.drain.window import Window
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Partition, Position, Priority, Request

TOPICS = ServiceTopics.of("a", priorities=True).fresh


def partition(number: int, priority: Priority) -> Partition:
    return Partition(TOPICS[priority], number)


class Silent:
    def cancel(self) -> None: ...


class RankedLanesMachine(RuleBasedStateMachine):
    """`log`: of each key and priority, what was offered and is still there, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes = RankedLanes()
        self.log: dict[tuple[bytes, Priority], list[Item]] = {}
        self.taken: list[Item] = []
        self.aside: list[Item] = []
        self.number = 0

    @rule(
        key=st.sampled_from([b"a", b"b", b"c"]),
        priority=st.sampled_from(Priority),
        lives=st.integers(1, 30),
    )
    def offer(self, key: bytes, priority: Priority, lives: int) -> None:
        self.number += 1
        position = Position(partition(key[0] % 2, priority), self.number)
        request = Request(
            str(self.number), position, key, b"", b"", 0, 0, expires_at=self.number + lives, priority=priority
        )
        item = Item(request, Window(0, 1))
        self.log.setdefault((key, priority), []).append(item)
        self.lanes.offer(item)

    @rule()
    def take(self) -> None:
        item = self.lanes._next()
        out = {item.request.key for item in (*self.taken, *self.aside)}
        if item is None:
            assert all(key in out for (key, _), lane in self.log.items() if lane)
            return
        key = item.request.key
        assert key is not None
        assert item is self.log[key, item.request.priority][0]
        assert key not in out
        self.taken.append(item)

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), waits=st.booleans())
    def put_back_or_lay_aside(self, data: st.DataObject, waits: bool) -> None:
        item = data.draw(st.sampled_from(self.taken))
        self.taken.remove(item)
        if waits:
            item.timer = cast("Timer", Silent())
            self.aside.append(item)
            return
        self.lanes.put_back(item)
        taken: Item | None = self.lanes._next()
        while taken is not None and taken is not item:  # it is the next of its key, not of all
            self.taken.append(taken)
            taken = self.lanes._next()
        assert taken is item
        self.taken.append(item)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.taken))
        self.taken.remove(item)
        self._forget(item)
        self.lanes.ended(item)

    @rule()
    def expire(self) -> None:
        for item in self.lanes.take_expired(self.number):
            assert item.expired(self.number)
            assert item not in self.taken
            if item in self.aside:
                self.aside.remove(item)
            self._forget(item)
            self.lanes.ended(item)
        left = [item for lane in self.log.values() for item in lane if item not in self.taken]
        assert not any(item.expired(self.number) for item in left)

    @rule(number=st.integers(0, 1), priority=st.sampled_from(Priority), enough=st.integers(1, 5))
    def park(self, number: int, priority: Priority, enough: int) -> None:
        """All of a key whose turn waits for its time, each lane in its order."""
        beside = {partition(number, priority) for priority in Priority}
        blocked = {item.request.key for item in self.aside if item.partition in beside}
        out = self.lanes.take_out(partition(number, priority), enough, beside)
        for key in {item.request.key for item in out}:
            assert key in blocked
            assert key is not None
            for each in Priority:
                lane = [item for item in out if (item.request.key, item.request.priority) == (key, each)]
                assert lane == self.log.pop((key, each), [])
        self.aside = [item for item in self.aside if item not in out]

    @rule(number=st.integers(0, 1), priority=st.sampled_from(Priority))
    def lose(self, number: int, priority: Priority) -> None:
        gone = partition(number, priority)
        self.lanes.discard([gone])
        self.taken = [item for item in self.taken if item.partition != gone]
        self.aside = [item for item in self.aside if item.partition != gone]
        for lane in self.log:
            self.log[lane] = [item for item in self.log[lane] if item.partition != gone]

    @invariant()
    def it_counts_what_was_not_taken(self) -> None:
        assert len(self.lanes) == sum(map(len, self.log.values())) - len(self.taken) - len(self.aside)

    def _forget(self, item: Item) -> None:
        self.log[item.request.key or b"", item.request.priority].remove(item)


TestRankedLanes = RankedLanesMachine.TestCase
TestRankedLanes.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
