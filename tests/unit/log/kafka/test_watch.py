from __future__ import annotations

from bufferproxy.log.kafka.watch import LOOKS, Seen, Watch
from bufferproxy.records import Partition

A, B = Partition("t", 0), Partition("t", 1)


def test_a_partition_that_waits_in_front_of_records_is_stuck_after_some_looks() -> None:
    watch = Watch()
    seen = {A: Seen(5, 9, waits=True), B: Seen(9, 9, waits=True)}
    assert [watch.look(seen) for _ in range(LOOKS)] == [None] * (LOOKS - 1) + [A]


def test_progress_a_full_feed_and_an_end_that_is_reached_begin_the_count_anew() -> None:
    for between in (Seen(6, 9, waits=True), Seen(5, 9, waits=False), Seen(9, 9, waits=True)):
        watch = Watch()
        for _ in range(LOOKS - 1):
            assert watch.look({A: Seen(5, 9, waits=True)}) is None
        assert watch.look({A: between}) is None
        assert watch.look({A: Seen(5, 9, waits=True)}) is None


def test_a_partition_that_was_not_seen_for_a_look_is_not_stuck() -> None:
    watch = Watch()
    for _ in range(LOOKS - 1):
        watch.look({A: Seen(5, 9, waits=True)})
    assert watch.look({}) is None
    assert watch.look({A: Seen(5, 9, waits=True)}) is None
