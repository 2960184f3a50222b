from __future__ import annotations

import pytest

from bufferproxy.accept.fields import malformed
from bufferproxy.http1.problems import Problem

Fields = list[tuple[bytes, bytes]]

TRACE = b"-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def judged(*fields: tuple[bytes, bytes]) -> Problem | None:
    return malformed(list(fields), {name.lower(): value for name, value in reversed(fields)})


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"X", b""), (b"X", b"1")],
        [(b"traceparent", b"00" + TRACE)],
        [(b"TraceParent", b"cc" + TRACE + b"-what-comes-later")],
        [(b"traceparent", b"01" + TRACE)],
        [(b"Bufferproxy-Key", b"k")],
        [(b"Idempotency-Key", b"k")],
        [(b"idempotency-key", b'"k"')],
        [(b"Idempotency-Key", rb'"a \" \\ b"')],
        [(b"Idempotency-Key", "größe".encode())],
        [(b"Bufferproxy-Key", b"k" * 1024)],
        [(b"Idempotency-Key", b"k" * 255)],
        [(b"Idempotency-Key", b'"%b"' % (rb"\"" * 255))],
    ],
)
def test_what_is_well_formed_or_not_there_is_taken(fields: Fields) -> None:
    assert judged(*fields) is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"bad",
        b"00" + TRACE.upper(),
        b"ff" + TRACE,
        b"0" + TRACE,
        b"00" + TRACE + b"-more",
        b"01" + TRACE + b"x",
        b"00" + TRACE[:-3],
        b"00-" + b"0" * 32 + TRACE[33:],
        b"00" + TRACE[:34] + b"0" * 16 + b"-01",
    ],
)
def test_a_trace_that_is_none_is_a_bad_request(value: bytes) -> None:
    problem = judged((b"traceparent", value))
    assert problem is not None
    assert (problem.slug, problem.detail[:11]) == ("bad-request", "traceparent")


@pytest.mark.parametrize("value", [b"", b'"', b'""', b'"abc', b'abc"', b'"a"b"', b'"a\\"', b'"a";x'])
def test_an_idempotency_key_that_is_none_is_refused_by_its_own_name(value: bytes) -> None:
    problem = judged((b"Idempotency-Key", value))
    assert problem is not None
    assert (problem.slug, problem.detail[:15]) == ("bad-idempotency-key", "Idempotency-Key")


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (b"k" * 256, 256),
        (b'"%b"' % (b"k" * 256), 256),
        (b'"%b"' % (rb"\\" * 256), 514),
        (b'"' * 57_000, 57_000),
    ],
)
def test_an_idempotency_key_has_a_greatest_length(value: bytes, size: int) -> None:
    problem = judged((b"Idempotency-Key", value))
    assert problem is not None
    assert problem.slug == "bad-idempotency-key"
    assert problem.detail == f"Idempotency-Key has {size} bytes: at most 255 are taken"


def test_an_ordering_key_has_a_greatest_length() -> None:
    problem = judged((b"Bufferproxy-Key", b"k" * 1025))
    assert problem is not None
    assert problem.slug == "bad-request"
    assert problem.detail == "Bufferproxy-Key has 1025 bytes: an ordering key has at most 1024"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (b"traceparent", b"00" + TRACE, "traceparent was sent 2 times"),
        (b"bufferproxy-key", b"k", "Bufferproxy-Key was sent 2 times"),
        (b"idempotency-key", b"k", "Idempotency-Key was sent 2 times"),
    ],
)
def test_what_may_be_there_once_is_refused_twice(name: bytes, value: bytes, words: str) -> None:
    problem = judged((name, value), (name.title(), value))
    assert problem is not None
    assert words in problem.detail


def test_an_ordering_key_without_a_value_orders_nothing() -> None:
    problem = judged((b"Bufferproxy-Key", b""))
    assert problem is not None
    assert (problem.slug, problem.detail[:24]) == ("bad-request", "Bufferproxy-Key is empty")
