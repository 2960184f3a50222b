from __future__ import annotations

import pytest

from bufferproxy.records import Partition, Position, Request

FRESH = Request("i", Position(Partition("r", 0), 0), None, b"", b"", 0, 0)


@pytest.mark.parametrize(
    ("attempts", "sends", "generation", "again"),
    [
        (0, 0, 0, False),
        (1, 1, 0, True),
        (0, 1, 0, True),  # the service asked for a rest
        (0, 8, 1, False),  # redriven
        (1, 9, 1, True),
    ],
)
def test_what_counts_as_a_retry(attempts: int, sends: int, generation: int, again: bool) -> None:
    request = FRESH._replace(attempts=attempts, sends=sends, generation=generation)
    assert request.again is again


def test_one_send_more_leaves_the_rest_as_it_was() -> None:
    request = FRESH._replace(due_at=5, attempts=2, sends=3, generation=1)
    assert request.sent_again() == request._replace(attempts=3, sends=4)
