from __future__ import annotations

import pytest

from bufferproxy.envelope import request_of
from bufferproxy.log.topics import TIERS
from bufferproxy.records import Partition, Position, Record, Request
from bufferproxy.settle.tiers import delayed, due, tier_for, wait_from

PLAIN = Request("a" * 48, Position(Partition("r", 0), 0), b"k", b"GET / HTTP/1.1\r\n", b"b", 0, 0)


@pytest.mark.parametrize(
    ("remaining", "tier"),
    [(-5, 0), (0, 0), (0.24, 0), (0.25, 0), (0.99, 0), (1, 1), (3.99, 1), (4, 2), (70_000, 9), (1e9, 9)],
)
def test_a_request_waits_in_the_largest_tier_not_above_what_remains(remaining: float, tier: int) -> None:
    assert tier_for(remaining) == tier


@pytest.mark.parametrize(
    ("due_at", "expected"), [(None, True), (0, True), (1000, True), (1249, True), (1250, False)]
)
def test_less_than_a_quarter_of_a_second_early_is_due(due_at: int | None, expected: bool) -> None:
    assert due(PLAIN._replace(due_at=due_at), 1000) is expected


def test_the_copy_says_when_its_tier_is_over_and_is_the_same_request() -> None:
    partition, entry = delayed(PLAIN._replace(due_at=10_000, attempts=2), 3_000, "d")
    assert partition == Partition("d", 2)
    read = request_of(Record(partition, 5, entry.key, entry.value, entry.headers, 0.0), 0, 3)
    assert read == PLAIN._replace(
        position=Position(partition, 5), due_at=10_000, attempts=2, hop_at=3_000 + TIERS[2] * 1000
    )


@pytest.mark.parametrize(
    ("expires_at", "expected"),
    [(None, (2, 7_000)), (60_000, (2, 7_000)), (5_000, (1, 4_000)), (0, (0, 3_250))],
)
def test_it_waits_no_longer_than_until_it_expires(expires_at: int | None, expected: tuple[int, int]) -> None:
    assert wait_from(3_000, 10_000, expires_at) == expected
