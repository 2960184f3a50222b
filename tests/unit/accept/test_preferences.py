from __future__ import annotations

import pytest

from bufferproxy.accept.preferences import NONE, REFUSED, Mode, Preference, mode_of, preference
from bufferproxy.http1.problems import Problem


def asked(*values: bytes) -> Preference | Problem:
    return preference([(b"Host", b"a"), *((b"Prefer", value) for value in values), (b"X-Pre", b"wait=9")])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((), NONE),
        ((b"",), NONE),
        ((b"handling=lenient, return=minimal",), NONE),
        ((b"respond-async",), Preference(None, respond_async=True)),
        ((b"Respond-Async ; x=y",), Preference(None, respond_async=True)),
        ((b"wait=10",), Preference(10)),
        ((b'wait = "10"; foo',), Preference(10)),
        ((b"WAIT=0",), Preference(0)),
        ((b"respond-async, wait=007",), Preference(7, respond_async=True)),
        ((b"respond-async", b"wait=7"), Preference(7, respond_async=True)),
        ((b"wait=1, wait=2",), Preference(1)),
        ((b"wait=1", b"wait=no"), Preference(1)),
        ((b"wait=" + b"0" * 5000,), Preference(0)),
        ((b"wait=" + b"9" * 5000,), Preference(10**9)),
        ((b'note="a, wait=x", respond-async',), Preference(None, respond_async=True)),
        ((rb'note="a \" , wait=x", wait=3',), Preference(3)),
        ((b'note="never closed, wait=x',), NONE),
        ((b', wait=5,, note=""',), Preference(5)),
    ],
)
def test_a_preference_is_read(values: tuple[bytes, ...], expected: Preference) -> None:
    assert asked(*values) == expected


@pytest.mark.parametrize(
    "value", [b"wait", b"wait=", b"wait=-1", b"wait=1.5", b"wait=1_0", b"wait=\xb2", b"wait=x"]
)
def test_a_wait_that_is_not_digits_is_refused(value: bytes) -> None:
    problem = asked(value)
    assert isinstance(problem, Problem)
    assert problem.slug == "bad-preference"


@pytest.mark.parametrize(
    ("method", "preference_", "mode"),
    [
        (b"POST", NONE, Mode(5.0, strict=False, applied=None)),
        (b"POST", Preference(10), Mode(10.0, strict=False, applied=b"wait=10")),
        (b"POST", Preference(999), Mode(60.0, strict=False, applied=b"wait=60")),
        (b"POST", Preference(0), Mode(0.0, strict=False, applied=b"wait=0")),
        (b"POST", Preference(None, True), Mode(0.0, strict=False, applied=b"respond-async")),
        (b"POST", Preference(9, True), Mode(9.0, strict=False, applied=b"respond-async, wait=9")),
        (b"GET", NONE, Mode(30.0, strict=True, applied=None)),
        (b"HEAD", NONE, Mode(30.0, strict=True, applied=None)),
        (b"OPTIONS", NONE, Mode(30.0, strict=True, applied=None)),
        (b"GET", Preference(10), Mode(10.0, strict=False, applied=b"wait=10")),
        (b"GET", Preference(None, True), Mode(0.0, strict=False, applied=b"respond-async")),
        (b"get", NONE, Mode(5.0, strict=False, applied=None)),
    ],
)
def test_how_a_caller_is_answered(method: bytes, preference_: Preference, mode: Mode) -> None:
    assert mode_of(method, preference_, reply=5.0, safe=30.0, longest=60.0) == mode


def test_safe_methods_that_are_answered_like_all_others_get_their_202() -> None:
    assert mode_of(b"GET", NONE, reply=5.0, safe=0.0, longest=60.0) == Mode(0.0, strict=False, applied=None)


def test_safe_methods_can_be_refused_unless_the_caller_says_what_it_wants() -> None:
    assert mode_of(b"GET", NONE, reply=5.0, safe=None, longest=60.0) is REFUSED
    assert mode_of(b"POST", NONE, reply=5.0, safe=None, longest=60.0) is not REFUSED
    assert mode_of(b"GET", Preference(1), reply=5.0, safe=None, longest=60.0) is not REFUSED
