"""However services come and go, what they read ahead stays within the budget, and each of them goes on."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from bufferproxy.drain.holding import Bounds, Gate, Holding
from bufferproxy.drain.read_ahead import ReadAhead
from bufferproxy.log.contract import Lease
from bufferproxy.records import Partition, Record

BUDGET = 1000
LARGEST = 90
BOUNDS = Bounds(open=1000)


class Service:
    """Two partitions with endless backlog: each is read while it is not paused."""

    def __init__(self, name: str, ahead: ReadAhead) -> None:
        self.places = [Partition(name, 0), Partition(name, 1)]
        self.paused: set[Partition] = set()
        self.holding = Holding(lambda _: BOUNDS, ahead)
        self.holding.gate = Gate(self.paused.add, self.paused.discard)
        self.holding.grant({place: Lease(1, 0) for place in self.places})
        self.next = dict.fromkeys(self.places, 0)
        self.open: deque[tuple[Partition, int]] = deque()

    def fetch(self, number: int, size: int) -> None:
        place = self.places[number]
        if place not in self.paused:
            offset = self.next[place]
            self.holding.begin(Record(place, offset, None, b"x" * size, (), 1.0), offset + 1)
            self.next[place] = offset + 1
            self.open.append((place, offset))

    def settle(self) -> None:
        if self.open:
            place, offset = self.open.popleft()
            window = self.holding.window(place)
            assert window is not None
            assert self.holding.settle(place, offset, window)


STEPS = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from([0, 1, None]), st.integers(1, LARGEST)), max_size=300
)


@given(STEPS)
def test_the_budget_holds_and_nobody_is_starved(steps: list[tuple[int, int | None, int]]) -> None:
    ahead = ReadAhead(BUDGET)
    services = [Service(f"s{n}", ahead) for n in range(5)]
    for number, place, size in steps:
        if place is None:
            services[number].settle()
        else:
            services[number].fetch(place, size)
        assert 0 <= ahead.used <= BUDGET + LARGEST * len(services)
    for service in services:
        while service.open:
            service.settle()
        assert not service.paused
    assert ahead.used == 0


@given(st.integers(1, 5))
def test_those_that_read_all_they_may_hold_equal_parts_and_leave_one_more(count: int) -> None:
    ahead = ReadAhead(BUDGET)
    services = [Service(f"s{n}", ahead) for n in range(count)]
    for _ in range(BUDGET):
        for service in services:
            service.fetch(0, 1)
    held = [len(service.open) for service in services]
    assert max(held) - min(held) <= 1
    assert abs(ahead.free - BUDGET / (count + 1)) <= count + 1
