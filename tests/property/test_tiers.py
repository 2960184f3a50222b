from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bufferproxy.envelope import request_of
from bufferproxy.log.topics import TIERS
from bufferproxy.records import Partition, Position, Record, Request
from bufferproxy.settle.tiers import EARLY, delayed, due

FRESH = Request("a" * 48, Position(Partition("r", 0), 0), None, b"GET / HTTP/1.1\r\n", b"", 0, 0)


@given(
    st.integers(0, 30 * 86_400_000),
    st.lists(st.integers(0, 40), min_size=1, max_size=30),
)
def test_hop_by_hop_a_request_comes_due_in_its_time_after_few_hops(remaining: int, late: list[int]) -> None:
    """`late`: ms by which each hop is noticed and appended later than it could be."""
    now = 1_750_000_000_000
    due_at, hops = now + remaining, 0
    request = FRESH._replace(due_at=due_at)
    last_late = 0
    while not due(request, now):
        partition, entry = delayed(request, now, "d")
        request = request_of(Record(partition, hops, entry.key, entry.value, entry.headers, 0.0), 0, 3)
        assert request.due_at == due_at
        assert request.hop_at == now + round(TIERS[partition.number] * 1000)
        last_late = late[hops % len(late)]
        now = request.hop_at + last_late
        hops += 1
    assert due_at - EARLY * 1000 <= now <= due_at + last_late or remaining < EARLY * 1000
    # Three of each tier, and as many of the largest as the time takes.
    assert hops <= 3 * (len(TIERS) - 1) + remaining // round(TIERS[-1] * 1000) + 1
