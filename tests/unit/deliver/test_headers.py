"""What each attempt adds."""

from __future__ import annotations

import pytest

from bufferproxy.clock import rfc3339
from bufferproxy.deliver.headers import outgoing
from bufferproxy.records import Partition, Position, Request

HEAD = b"POST /a/%2e%2e/?q= HTTP/1.1\r\nX-A: \xff\r\nhOST: shop.example\r\nContent-Length: 2\r\n"
ADDED = (
    b"Bufferproxy-Id: id7\r\nBufferproxy-Attempt: 3\r\nBufferproxy-Accepted-At: 2023-11-14T22:13:20.007Z\r\n"
)


def request(head: bytes = HEAD, key: bytes | None = None) -> Request:
    return Request(
        "id7", Position(Partition("t", 0), 1), None, head, b"hi", 1_700_000_000_007, 0, idempotency_key=key
    )


def test_the_id_the_attempt_the_time_and_the_key_follow_the_callers_own_lines() -> None:
    assert outgoing(request(), 3, host=b"auth:80") == HEAD + ADDED + b"Idempotency-Key: id7\r\n\r\n"


def test_the_callers_own_idempotency_key_is_not_doubled() -> None:
    head = HEAD + b'Idempotency-Key: "k"\r\n'
    assert outgoing(request(head, b'"k"'), 3, host=b"auth:80") == head + ADDED + b"\r\n"


def test_the_host_is_replaced_where_it_stands_when_it_is_not_preserved() -> None:
    sent = outgoing(request(), 3, host=b"auth:80", preserve_host=False)
    assert sent.startswith(
        b"POST /a/%2e%2e/?q= HTTP/1.1\r\nX-A: \xff\r\nhOST: auth:80\r\nContent-Length: 2\r\n"
    )
    backslash = outgoing(request(), 3, host=b"a\\1", preserve_host=False)
    assert b"\r\nhOST: a\\1\r\n" in backslash


@pytest.mark.parametrize("preserve", [True, False])
def test_a_caller_without_a_host_gets_the_services(preserve: bool) -> None:
    head = b"GET / HTTP/1.1\r\nX-Host: a\r\nX-Forwarded-Host:b\r\n"
    sent = outgoing(request(head), 3, host=b"auth:80", preserve_host=preserve)
    assert sent.startswith(
        b"GET / HTTP/1.1\r\nHost: auth:80\r\nX-Host: a\r\nX-Forwarded-Host:b\r\nBufferproxy-Id"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET / HTTP/1.1", b"GET /base/ HTTP/1.1"),
        (b"GET //a/../%2e%2e?x HTTP/1.1", b"GET /base//a/../%2e%2e?x HTTP/1.1"),
        (b"OPTIONS * HTTP/1.1", b"OPTIONS * HTTP/1.1"),
    ],
)
def test_the_base_path_of_the_service_goes_before_the_path(line: bytes, expected: bytes) -> None:
    sent = outgoing(request(line + b"\r\nHost: a\r\n"), 3, host=b"auth:80", base=b"/base")
    assert sent.startswith(expected + b"\r\nHost: a\r\nBufferproxy-Id: ")


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, b"1970-01-01T00:00:00.000Z"),
        (999, b"1970-01-01T00:00:00.999Z"),
        (951_782_400_050, b"2000-02-29T00:00:00.050Z"),
        (4_102_444_799_999, b"2099-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_rfc_3339_in_utc(milliseconds: int, text: bytes) -> None:
    assert rfc3339(milliseconds).encode() == text
