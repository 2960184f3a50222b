from __future__ import annotations

import json

import pytest

from bufferproxy.accept.answers import (
    Standing,
    accepted,
    parse_head,
    status,
    without_answer,
    without_length,
)
from bufferproxy.records import Change, State

ID = "a" * 48


def test_a_receipt_says_what_is_known_the_moment_it_is_durable() -> None:
    head, body = accepted(ID, "auth", 7, 1.25, 1769860800250, b"wait=5", "/_bufferproxy")
    assert head.decode().split("\r\n") == [
        "Content-Type: application/json",
        f"Location: /_bufferproxy/requests/{ID}",
        "Retry-After: 2",
        f"Bufferproxy-Id: {ID}",
        "Bufferproxy-Position: 7",
        "Cache-Control: no-store",
        "Preference-Applied: wait=5",
        "",
    ]
    assert json.loads(body) == {
        "id": ID,
        "service": "auth",
        "state": "queued",
        "status_url": f"/_bufferproxy/requests/{ID}",
        "position": 7,
        "eta_seconds": 1.25,
        "accepted_at": "2026-01-31T12:00:00.250Z",
    }


def test_a_receipt_without_a_preference_names_none_and_comes_back_in_a_second_at_least() -> None:
    head, _ = accepted(ID, "auth", 1, 0.0, 0, None, "/p")
    assert b"Retry-After: 1\r\n" in head
    assert b"Preference-Applied" not in head


def test_the_status_of_what_waits() -> None:
    standing = Standing(
        ID, "auth", State.RETRYING, 2, 3, 1.23456, 0, next_attempt_at=1000, expires_at=3_600_000
    )
    assert json.loads(status(standing, "/p")) == {
        "id": ID,
        "service": "auth",
        "state": "retrying",
        "attempts": 2,
        "position": 3,
        "eta_seconds": 1.235,
        "accepted_at": "1970-01-01T00:00:00.000Z",
        "next_attempt_at": "1970-01-01T00:00:01.000Z",
        "expires_at": "1970-01-01T01:00:00.000Z",
        "finished_at": None,
        "response": None,
        "error": None,
    }


def test_the_status_of_what_has_ended_shows_the_reply() -> None:
    reply_head = b"HTTP/1.1 404 Not Found\r\nA: b:c \r\na:\xe9\r\n"
    standing = Standing(
        ID, "auth", State.REJECTED, 1, None, None, 0, finished_at=5, error="no", reply_head=reply_head
    )
    told = json.loads(status(standing, "/p"))
    assert told["response"] == {
        "status": 404,
        "headers": [["A", "b:c"], ["a", "é"]],
        "body_url": f"/p/requests/{ID}/response",
    }
    assert (told["finished_at"], told["error"], told["eta_seconds"]) == (
        "1970-01-01T00:00:00.005Z",
        "no",
        None,
    )


def test_a_reply_without_a_reason_or_headers_is_read() -> None:
    assert parse_head(b"HTTP/1.1 204 \r\n") == (204, [])
    assert parse_head(b"HTTP/1.0 200\r\n") == (200, [])


@pytest.mark.parametrize(
    ("state", "error", "slug", "detail"),
    [
        (
            State.DELIVERED,
            "reply-too-large",
            "reply-too-large",
            "It was delivered; the reply was above results.body, or its headers above 64 KiB.",
        ),
        (State.EXPIRED, "not sent in time", "expired", "It was not sent before it expired."),
        (State.DEAD, "timeout: slow", "dead", "timeout: slow"),
        (State.CANCELLED, None, "dead", "It ended cancelled."),
    ],
)
def test_an_end_without_a_reply_is_a_problem(state: State, error: str | None, slug: str, detail: str) -> None:
    problem = without_answer(Change(ID, state, 1, 1, 1, 0, error=error))
    assert (problem.slug, problem.detail) == (slug, detail)


def test_a_reply_to_head_is_replayed_without_the_length_of_what_was_not_sent() -> None:
    head = b"HTTP/1.1 200 OK\r\nA: b\r\ncontent-Length: 5\r\nX-Content-Length: 6\r\n"
    assert without_length(head) == b"HTTP/1.1 200 OK\r\nA: b\r\nX-Content-Length: 6\r\n"
    assert without_length(head.replace(b"200", b"304")) == head.replace(b"200", b"304")
