from __future__ import annotations

import math

import pytest

from bufferproxy.accept.admission import Limits, Reading
from bufferproxy.accept.backlog import Backlog
from bufferproxy.accept.front import Front, KeySource, Terms, ordering_key
from bufferproxy.ids import service_number
from bufferproxy.log.partitioning import partition_for
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Partition, Position

NAMES = ServiceTopics.of("auth")


def front(partitions: int, order: str = "none") -> Front:
    terms = Terms(1 << 20, 0.0, 30.0, 3600.0, 2000, Limits(10, 10, 10.0), order, None)
    all_ = tuple(Partition(NAMES.requests, number) for number in range(partitions))
    return Front("auth", NAMES, all_, terms, Backlog(50.0, exact=True))


def test_without_a_key_each_partition_has_its_turn() -> None:
    several = front(3)
    assert sorted(several.partition(None).number for _ in range(6)) == [0, 0, 1, 1, 2, 2]


def test_equal_keys_lie_in_one_partition_which_is_that_of_other_clients() -> None:
    several = front(12, "key")
    for key in (b"a", b"user-7", b""):
        assert several.partition(key) == Partition(NAMES.requests, partition_for(key, 12))


def test_strict_order_has_the_first_partition_only() -> None:
    several = front(12, "strict")
    assert {several.partition(key).number for key in (None, b"a", b"b", b"c")} == {0}


def test_one_partition_takes_all() -> None:
    assert front(1, "key").partition(b"a").number == 0


def test_it_knows_its_number_and_shows_its_backlog() -> None:
    one = front(1)
    assert one.number == service_number("auth")
    assert repr(one) == "<Front auth <Backlog 0 requests, 0 B> held=0>"


@pytest.mark.parametrize(
    ("source", "target", "key"),
    [
        (None, b"/a", None),
        (KeySource("header", b"x-user-id"), b"/a", b"7"),
        (KeySource("header", b"x-none"), b"/a", None),
        (KeySource("header", b"x-empty"), b"/a", None),
        (KeySource("path", b"1"), b"/a/b?c/d", b"a"),
        (KeySource("path", b"2"), b"/a/b?c/d", b"b"),
        (KeySource("path", b"3"), b"/a/b?c/d", None),
        (KeySource("path", b"2"), b"/a/", None),
        (KeySource("path", b"2"), b"/a/%62", b"%62"),
        (KeySource("query", b"user"), b"/a?x=1&user=9&user=8", b"9"),
        (KeySource("query", b"user"), b"/a?user=", None),
        (KeySource("query", b"user"), b"/a?users=1", None),
        (KeySource("query", b"user"), b"/a", None),
        (KeySource("client"), b"/a", b"10.0.0.1"),
    ],
)
def test_the_ordering_key_comes_from_where_the_settings_say(
    source: KeySource | None, target: bytes, key: bytes | None
) -> None:
    headers = [(b"X-User-Id", b"7"), (b"X-User-Id", b"8"), (b"X-Empty", b"")]
    assert ordering_key(source, target, headers, "10.0.0.1") == key


def test_the_callers_own_key_goes_first() -> None:
    headers = [(b"bufferproxy-KEY", b"mine"), (b"X-User-Id", b"7")]
    assert ordering_key(KeySource("header", b"x-user-id"), b"/", headers, "c") == b"mine"
    assert ordering_key(None, b"/", headers, "c") == b"mine"


def test_a_caller_without_an_address_has_no_key() -> None:
    assert ordering_key(KeySource("client"), b"/", [], "") is None


def test_an_exact_backlog_counts_what_comes_and_goes() -> None:
    backlog = Backlog(50.0, exact=True)
    backlog.added(10)
    backlog.added(5)
    backlog.taken_back(5)
    assert (backlog.requests, backlog.size) == (1, 10)
    backlog.measured(99, 7, 3.0, {})
    assert backlog.reading() == Reading(1, 7, 50.0, 0)
    backlog.finished()
    assert backlog.reading().requests == 0


def test_one_of_many_replicas_takes_the_measure_and_counts_on_from_it() -> None:
    backlog = Backlog(50.0, exact=False)
    backlog.measured(99, 700, 3.0, {})
    backlog.added(10)
    backlog.finished()
    assert backlog.reading() == Reading(100, 710, 50.0, 0)


def test_without_a_ceiling_the_pace_is_what_was_measured() -> None:
    backlog = Backlog(math.inf, exact=True)
    assert backlog.reading().rate == math.inf
    backlog.measured(0, 0, 123.0, {})
    assert backlog.reading().rate == 123.0


def test_what_is_stored_while_the_log_is_measured_is_counted_once() -> None:
    backlog = Backlog(10.0, exact=False)
    partition = Partition("bufferproxy.auth.requests", 0)
    backlog.measuring()
    for offset in (5, 6, 7):
        backlog.added(1)
        backlog.stored(Position(partition, offset))
    backlog.added(1)  # still on its way
    backlog.measured(7, 7, 0.0, {partition: 7})
    assert backlog.requests == 7 + 1 + 1
