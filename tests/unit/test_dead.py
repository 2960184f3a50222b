"""The door through which redriven requests come in."""

from __future__ import annotations

import pytest

from bufferproxy.accept.admission import Limits
from bufferproxy.accept.backlog import Backlog
from bufferproxy.accept.front import Front, Terms
from bufferproxy.dead import FrontDoor
from bufferproxy.ids import Identity, id_of
from bufferproxy.log.topics import ServiceTopics
from bufferproxy.records import Partition, Position, Request

NAMES = ServiceTopics.of("a")
PARTITIONS = tuple(Partition(NAMES.requests, number) for number in range(4))


def door(order: str = "none", *, rate: float = 10.0) -> tuple[FrontDoor, Front]:
    terms = Terms(99, 0.0, None, 60.0, 10, Limits(100, 1000, 8.0), order, None)
    front = Front("a", NAMES, PARTITIONS, terms, Backlog(rate, exact=True))
    return FrontDoor(front), front


def request(accepted_in: int, key: bytes | None = None) -> Request:
    id_ = id_of(Identity(1, 0, accepted_in, 5, 0, bytes(12)))
    return Request(id_, Position(Partition(NAMES.dead, 0), 9), key, b"", b"", 0, 0)


def test_a_request_without_a_key_goes_where_it_was_accepted_every_time() -> None:
    found, _ = door()
    assert [found.partition(request(n)).number for n in (2, 2, 3, 7)] == [2, 2, 3, 3]


def test_a_key_decides_and_strict_order_has_one_partition() -> None:
    found, front = door("key")
    assert {found.partition(request(n, b"k")) for n in range(4)} == {front.partition(b"k")}
    found, _ = door("strict")
    assert found.partition(request(3)) == PARTITIONS[0]


@pytest.mark.parametrize(
    ("rate", "requests", "size", "room"),
    [
        (float("inf"), 49, 0, True),
        (float("inf"), 50, 0, False),
        (float("inf"), 1, 490, True),
        (float("inf"), 1, 491, False),
        (10.0, 40, 0, True),
        (10.0, 41, 0, False),
    ],
)
def test_half_of_the_backlog_is_left_to_callers(rate: float, requests: int, size: int, *, room: bool) -> None:
    found, front = door(rate=rate)
    front.backlog.requests, front.backlog.size = requests, size
    assert found.room(10) is room
