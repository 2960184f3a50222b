from __future__ import annotations

from bufferproxy.drain.holding import Bounds, Gate, Holding
from bufferproxy.drain.read_ahead import ReadAhead
from bufferproxy.log.contract import Lease
from bufferproxy.records import Partition, Record

P, Q = Partition("bufferproxy.a.requests", 0), Partition("bufferproxy.a.delayed", 0)


class World:
    def __init__(self, bounds: Bounds, ahead: ReadAhead | None = None) -> None:
        self.gated: list[str] = []
        self.holding = Holding(lambda _: bounds, ahead)
        self.holding.gate = Gate(
            lambda p: self.gated.append(f"pause {p.number}"),
            lambda p: self.gated.append(f"resume {p.number}"),
        )
        self.holding.grant({P: Lease(1, 0)})

    def begin(self, *offsets: int, value: bytes = b"x") -> None:
        for offset in offsets:
            self.holding.begin(Record(P, offset, None, value, (), 1.0), offset + 1)

    def settle(self, *offsets: int) -> None:
        window = self.holding.window(P)
        assert window is not None
        for offset in offsets:
            assert self.holding.settle(P, offset, window)


def test_a_full_window_pauses_its_partition_once_and_resumes_it_at_half() -> None:
    world = World(Bounds(open=4))
    world.begin(0, 1, 2)
    assert world.gated == []
    world.begin(3, 4)
    assert world.gated == ["pause 0"]
    world.settle(0, 1)
    assert world.gated == ["pause 0"]
    world.settle(2)
    assert world.gated == ["pause 0", "resume 0"]


def test_bytes_fill_a_window_too_those_of_headers_among_them() -> None:
    world = World(Bounds(open=100), ReadAhead(20))
    world.begin(0, value=b"x" * 6)
    assert world.gated == []
    world.holding.begin(Record(P, 1, None, b"", (("name", b"x" * 4),), 1.0), 2)
    assert world.gated == ["pause 0"]
    world.settle(1)
    assert world.gated == ["pause 0", "resume 0"]


def test_what_others_hold_leaves_less_room() -> None:
    ahead = ReadAhead(100)
    other, world = World(Bounds(open=100), ahead), World(Bounds(open=100), ahead)
    other.begin(0, value=b"x" * 60)
    assert other.gated == ["pause 0"]
    world.begin(0, value=b"x" * 19)
    assert world.gated == []
    world.begin(1, value=b"x")
    assert world.gated == ["pause 0"]


def test_a_partition_that_was_paused_for_another_is_read_on_when_that_one_leaves() -> None:
    world = World(Bounds(open=100), ReadAhead(100))
    world.holding.grant({Q: Lease(1, 0)})
    world.holding.begin(Record(Q, 0, None, b"x" * 80, (), 1.0), 1)
    world.begin(0)
    world.settle(0)
    assert world.gated == ["pause 0", "pause 0"]
    world.holding.drop([Q])
    assert world.gated == ["pause 0", "pause 0", "resume 0"]


def test_one_stuck_record_does_not_let_the_window_grow_without_bounds() -> None:
    world = World(Bounds(open=100, spread=6))
    world.begin(0, 1, 2, 3, 4, 5)
    assert world.gated == ["pause 0"]
    world.settle(1, 2, 3, 4, 5)
    assert world.gated == ["pause 0"]
    world.settle(0)
    assert world.gated == ["pause 0", "resume 0"]


def test_without_a_gate_it_only_counts() -> None:
    holding = Holding(lambda _: Bounds(open=1))
    holding.grant({P: Lease(1, 0)})
    window = holding.begin(Record(P, 0, None, b"", (), 1.0), 1)
    assert window is not None
    holding.grant({P: Lease(2, 0)})
    assert holding.settle(P, 0, window)


def test_what_moved_is_committed_once_under_the_epoch_of_now() -> None:
    world = World(Bounds(open=10))
    world.begin(0, 1)
    world.settle(0)
    world.holding.grant({P: Lease(2, 0)})
    assert world.holding.committable() == {P: (2, 1, "")}
    assert world.holding.committable() == {}
    world.settle(1)
    assert world.holding.committable() == {P: (2, 2, "")}


def test_what_is_done_beyond_an_open_one_is_told_to_the_next_holder() -> None:
    world = World(Bounds(open=10))
    world.begin(0, 1, 2)
    world.settle(1)
    (commit,) = world.holding.committable().values()
    assert (commit.epoch, commit.offset) == (1, 0)
    assert world.holding.committable() == {}
    world.holding.drop([P])
    world.holding.grant({P: Lease(2, commit.offset, commit.marks)})
    begun = [world.holding.begin(Record(P, n, None, b"", (), 1.0), n + 1) is not None for n in range(3)]
    assert begun == [True, False, True]


def test_a_commit_that_failed_is_to_be_done_again() -> None:
    world = World(Bounds(open=10))
    world.begin(0)
    world.settle(0)
    assert world.holding.committable([Q]) == {}
    offsets = world.holding.committable([P])
    world.holding.not_committed([*offsets, Q])
    assert world.holding.committable() == offsets


def test_a_partition_that_is_granted_again_keeps_its_window_and_stays_paused() -> None:
    world = World(Bounds(open=2))
    world.begin(0, 1)
    window = world.holding.window(P)
    world.holding.grant({P: Lease(2, 0)})
    assert world.holding.window(P) is window
    assert world.gated == ["pause 0", "pause 0"]


def test_what_has_left_is_forgotten_and_its_late_ends_change_nothing() -> None:
    world = World(Bounds(open=2))
    world.begin(0, 1)
    window = world.holding.window(P)
    assert window is not None
    world.settle(0)
    world.holding.drop([P])
    assert world.holding.begin(Record(P, 2, None, b"", (), 1.0), 3) is None
    assert world.holding.settle(P, 1, window) is False
    world.holding.grant({P: Lease(5, 1)})
    assert world.holding.settle(P, 1, window) is False
    assert world.holding.committable() == {}


def test_it_counts_what_is_open_by_topic() -> None:
    world = World(Bounds(open=10))
    world.holding.grant({Q: Lease(1, 0)})
    world.begin(0, 1)
    world.holding.begin(Record(Q, 0, None, b"", (), 1.0), 1)
    assert (world.holding.open(), world.holding.open(P.topic), world.holding.open(Q.topic)) == (3, 2, 1)
    assert list(world.holding) == [P, Q]
    assert repr(world.holding) == "<Holding partitions=2 open=3 full=0>"


def test_the_oldest_open_record_says_since_when_it_waits() -> None:
    world = World(Bounds(open=10))
    assert world.holding.oldest_at is None
    for offset in range(2):
        world.holding.begin(Record(P, offset, None, b"", (), 50.0 + offset), offset + 1)
    assert world.holding.oldest_at == 50.0
    world.settle(0)
    assert world.holding.oldest_at == 51.0
