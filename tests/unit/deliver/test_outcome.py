"""Reply or failure -> what the service did."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufferproxy.deliver.outcome import (
    Answered,
    ConnectFailed,
    Interrupted,
    NotSent,
    TimedOut,
    Verdict,
    Word,
    outcome_of,
    parse_retry_after,
    parse_verdict,
)
from bufferproxy.http1.reply import Failure, Kind, Phase, Reply

NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    "kind", [Kind.REFUSED, Kind.UNRESOLVED, Kind.TIMEOUT, Kind.RESET, Kind.TLS, Kind.CLOSED]
)
def test_no_connection_is_the_services_fault_however_it_failed(kind: Kind) -> None:
    assert outcome_of(Failure(Phase.CONNECT, kind, False, "why"), NOW) == ConnectFailed("why", kind)


def test_a_connection_that_had_gone_sent_nothing() -> None:
    assert outcome_of(Failure(Phase.SEND, Kind.CLOSED, False, "why"), NOW) == NotSent("why")


@pytest.mark.parametrize("phase", [Phase.SEND, Phase.FIRST_BYTE, Phase.REPLY])
def test_what_may_have_arrived_is_told_by_how_it_ended(phase: Phase) -> None:
    assert outcome_of(Failure(phase, Kind.TIMEOUT, True, "why"), NOW) == TimedOut("why", phase)
    for kind in (Kind.RESET, Kind.CLOSED, Kind.GARBAGE):
        assert outcome_of(Failure(phase, kind, True, "why"), NOW) == Interrupted("why", phase, kind)


def test_a_reply_is_an_answer_with_what_it_asks_for() -> None:
    plain = Reply(200, b"HTTP/1.1 200 OK\r\n", b"x")
    assert outcome_of(plain, NOW) == Answered(200, plain)
    asking = Reply(503, b"", b"", retry_after=b"7", outcome=b"pause; delay=2m")
    assert outcome_of(asking, NOW) == Answered(503, asking, 7.0, Verdict(Word.PAUSE, 120.0))
    nonsense = Reply(503, b"", b"", retry_after=b"soon", outcome=b"maybe")
    assert outcome_of(nonsense, NOW) == Answered(503, nonsense)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0.0),
        (b"120", 120.0),
        (b" 7\t", 7.0),
        (b"Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        (b"Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        (b"Sun Nov  6 08:50:37 1994", 60.0),
        (b"Sun, 06 Nov 1994 08:49:00 GMT", 0.0),
        (b"Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        (b"", None),
        (b"-1", None),
        (b"+1", None),
        (b"1.5", None),
        (b"1_0", None),
        (b"1e3", None),
        (b"\xb2", None),
        (b"99999999999", None),
        (b"soon", None),
        (b"Sun, 06 Nov 1994", None),
        (b"Sun, 99 Nov 1994 08:50:37 GMT", None),
        (b"Sun, 06 Nov 99999 08:50:37 GMT", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: bytes | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (b"ack", Verdict(Word.ACK)),
        (b" DEAD ", Verdict(Word.DEAD)),
        (b"retry", Verdict(Word.RETRY)),
        (b"retry; delay=30s", Verdict(Word.RETRY, 30.0)),
        (b"Retry;Delay=500ms", Verdict(Word.RETRY, 0.5)),
        (b"pause ; delay = 1m", Verdict(Word.PAUSE, 60.0)),
        (b"pause", Verdict(Word.PAUSE)),
        (b"retry; reason=busy; delay=1s", Verdict(Word.RETRY, 1.0)),
        (b"ack; delay=1s", Verdict(Word.ACK)),
        (b"retry; delay=30", Verdict(Word.RETRY)),
        (b"retry; delay=-1s", Verdict(Word.RETRY)),
        (b"pause; delay=", Verdict(Word.PAUSE)),
        (b"retry; delay=soon; delay=1s", Verdict(Word.RETRY)),
        (b"retry, ack", None),
        (b"no", None),
        (b"", None),
        (b"\xff", None),
        (None, None),
    ],
)
def test_the_service_may_say_what_is_to_become_of_a_request(
    value: bytes | None, verdict: Verdict | None
) -> None:
    assert parse_verdict(value) == verdict


@given(st.binary(max_size=60), st.floats(0, 4e9))
def test_no_bytes_from_a_service_raise(value: bytes, now: float) -> None:
    seconds = parse_retry_after(value, now)
    assert seconds is None or seconds >= 0
    parse_verdict(value)


@given(st.text("SunMoTuedayFri, 0123456789:-NovJGMTCE+", max_size=40), st.sampled_from(["", "Sun, "]))
def test_no_date_from_a_service_raises(text: str, prefix: str) -> None:
    parse_retry_after((prefix + text).encode(), NOW)
