"""Refusals as values and as documents."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest

from bufferproxy.http1.problems import PROBLEMS, Problem, render


def test_the_table_is_that_of_the_contract() -> None:
    by_status = defaultdict(set)
    for slug, (status, _) in PROBLEMS.items():
        by_status[status].add(slug)

    assert by_status == {
        400: {"bad-request", "bad-preference", "bad-idempotency-key"},
        401: {"unauthenticated"},
        403: {"forbidden", "callback-refused"},
        404: {"no-service", "unknown-request"},
        405: {"method-not-allowed"},
        408: {"receive-timeout"},
        409: {"idempotency-in-flight", "too-late-to-cancel", "not-finished"},
        410: {"result-gone"},
        413: {"body-too-large"},
        414: {"target-too-long"},
        422: {"idempotency-mismatch"},
        429: {"caller-rate"},
        431: {"headers-too-large"},
        501: {"method-not-implemented", "coding-not-implemented"},
        502: {"dead", "reply-too-large"},
        503: {
            *("backlog-full", "wait-too-long", "draining"),
            *("log-unavailable", "outcome-unknown", "storage-full"),
        },
        504: {"not-in-time", "expired"},
        505: {"version-not-supported"},
        508: {"loop-detected"},
    }


@pytest.mark.parametrize("slug", PROBLEMS)
def test_every_problem_can_be_told(slug: str) -> None:
    status, head, body = render(Problem(slug, "Why: \u00fc \r\n.", headers=(("X", "y"),)))

    told = json.loads(body)
    assert told == {
        "type": f"urn:bufferproxy:problem:{slug}",
        "title": PROBLEMS[slug][1],
        "status": status,
        "detail": "Why: \u00fc \r\n.",
    }
    assert head.endswith(b"\r\nX: y\r\n")


@pytest.mark.parametrize(("seconds", "told"), [(0.0, 1), (0.2, 1), (1.0, 1), (1.01, 2), (3600.0, 3600)])
def test_retry_after_is_in_whole_seconds_and_never_too_early(seconds: float, told: int) -> None:
    assert f"Retry-After: {told}\r\n".encode() in render(Problem("draining", "", retry_after=seconds)).head


def test_a_header_cannot_break_out_of_its_line() -> None:
    with pytest.raises(ValueError, match="line break"):
        render(Problem("dead", "", headers=(("X", "a\r\nY: b"),)))
