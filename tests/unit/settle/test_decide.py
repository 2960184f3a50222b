from __future__ import annotations

import pytest

from bufferproxy.deliver.outcome import (
    Answered,
    ConnectFailed,
    Interrupted,
    NotSent,
    Outcome,
    TimedOut,
    Verdict,
    Word,
)
from bufferproxy.http1.reply import Reply
from bufferproxy.policy.tally import Ending
from bufferproxy.records import State
from bufferproxy.settle.decide import PAUSE, UNSAID_REST, RetryPolicy, decide, ending_of, result_of
from bufferproxy.settle.disposition import Ack, Answer, DeadLetter, Disposition, Release, Retry

POLICY = RetryPolicy(3, 1.0, 300.0, "none", frozenset({408, 425, 500, 503}), timeout=True)
FIRST, LAST = 1, 3
"""Attempts used up, of three."""


def reply(status: int, *, too_large: bool = False) -> Reply:
    return Reply(status, b"HTTP/1.1 %d X\r\n" % status, b"body", too_large=too_large)


def answered(status: int, retry_after: float | None = None, verdict: Verdict | None = None) -> Answered:
    return Answered(status, reply(status), retry_after, verdict)


def answer(status: int) -> Answer:
    return reply(status)


TIMED_OUT = TimedOut("slow")
INTERRUPTED = Interrupted("reset")


@pytest.mark.parametrize(
    ("outcome", "disposition"),
    [
        # The fault of the service: nothing moves, no attempt is used up.
        (ConnectFailed("refused"), Release(detail="refused")),
        (NotSent("gone"), Release(detail="gone")),
        (answered(429), Release(UNSAID_REST, "the service answered 429", sent=True)),
        (answered(429, 7.0), Release(7.0, "the service answered 429", sent=True)),
        (answered(503, 7.0), Release(7.0, "the service answered 503", sent=True)),
        (answered(503, 0.0), Release(0.0, "the service answered 503", sent=True)),
        (
            answered(200, verdict=Verdict(Word.PAUSE)),
            Release(PAUSE, "the service asked for a pause", sent=True),
        ),
        (
            answered(200, verdict=Verdict(Word.PAUSE, 5.0)),
            Release(5.0, "the service asked for a pause", sent=True),
        ),
        # Ends.
        (answered(200), Ack(State.DELIVERED, answer(200))),
        (answered(304, 9.0), Ack(State.DELIVERED, answer(304))),
        (answered(404), Ack(State.REJECTED, answer(404))),
        (answered(500, verdict=Verdict(Word.ACK)), Ack(State.DELIVERED, answer(500))),
        (answered(501), Ack(State.REJECTED, answer(501))),
        (
            answered(200, verdict=Verdict(Word.DEAD)),
            DeadLetter("outcome", answer(200), "the service answered Bufferproxy-Outcome: dead"),
        ),
        # The fault of the request: again.
        (answered(503), Retry(1.0, "503", answer(503))),
        (answered(408, 9.0), Retry(1.0, "408", answer(408))),
        (TIMED_OUT, Retry(1.0, "timeout", None)),
        (INTERRUPTED, Retry(1.0, "interrupted", None)),
        (answered(200, verdict=Verdict(Word.RETRY)), Retry(1.0, "outcome", answer(200))),
        (answered(429, verdict=Verdict(Word.RETRY, 30.0)), Retry(30.0, "outcome", answer(429))),
    ],
)
def test_what_follows_from_an_outcome(outcome: Outcome, disposition: Disposition) -> None:
    assert decide(outcome, FIRST, POLICY, 0.5) == disposition


@pytest.mark.parametrize(
    ("outcome", "last"),
    [
        (answered(500), "the service answered 500"),
        (TIMED_OUT, "slow"),
        (INTERRUPTED, "reset"),
        (answered(200, verdict=Verdict(Word.RETRY, 5.0)), "Bufferproxy-Outcome: retry"),
    ],
)
def test_after_the_last_attempt_it_is_dead_with_the_last_answer(outcome: Outcome, last: str) -> None:
    decided = decide(outcome, LAST, POLICY, 0.5)
    assert isinstance(decided, DeadLetter)
    assert (decided.reason, decided.error) == ("attempts", f"3 attempts, the last: {last}")
    assert decided.answer == (outcome.reply if isinstance(outcome, Answered) else None)


@pytest.mark.parametrize("outcome", [ConnectFailed(""), NotSent(""), answered(429), answered(503, 1.0)])
def test_what_rests_the_service_never_ends_a_request(outcome: Outcome) -> None:
    assert isinstance(decide(outcome, 99, POLICY, 0.5), Release)


def test_a_timeout_that_is_not_to_be_tried_again_is_dead() -> None:
    assert decide(TIMED_OUT, FIRST, POLICY._replace(timeout=False), 0.5) == DeadLetter(
        "timeout", None, "slow"
    )


def test_what_may_be_sent_once_only_is_dead_when_nobody_knows_what_came_of_it() -> None:
    once = POLICY._replace(timeout=False, interrupted=False)
    assert decide(INTERRUPTED, FIRST, once, 0.5) == DeadLetter("interrupted", None, "reset")


@pytest.mark.parametrize(
    ("delivered", "status", "state"),
    [
        ({200, 204}, 204, State.DELIVERED),
        ({200, 204}, 201, State.REJECTED),
        ({*range(200, 300)}, 302, State.REJECTED),
        ({*range(200, 400), 409}, 409, State.DELIVERED),
        ({*range(200, 400), 501}, 501, State.DELIVERED),
    ],
)
def test_what_counts_as_delivered_can_be_said(delivered: set[int], status: int, state: State) -> None:
    policy = POLICY._replace(delivered=frozenset(delivered))
    decided = decide(answered(status), FIRST, policy, 0.5)
    assert decided == Ack(state, answer(status))
    assert ending_of(answered(status), decided) is Ending.SERVED
    assert result_of(answered(status), decided) == ("success" if state is State.DELIVERED else "rejected")


@pytest.mark.parametrize("outcome", [answered(429), answered(503, 1.0)])
def test_a_service_that_asks_for_less_rests_even_if_its_answer_counts_as_delivered(outcome: Outcome) -> None:
    policy = POLICY._replace(delivered=frozenset({429, 503}))
    assert isinstance(decide(outcome, FIRST, policy, 0.5), Release)


def test_waits_grow_with_the_attempts_used_up() -> None:
    waits = [decide(TIMED_OUT, n, POLICY, 0.5) for n in (1, 2)]
    assert waits == [Retry(1.0, "timeout", None), Retry(2.0, "timeout", None)]


@pytest.mark.parametrize(
    ("outcome", "result"),
    [
        (ConnectFailed(""), "connect"),
        (NotSent(""), "connect"),
        (TIMED_OUT, "timeout"),
        (INTERRUPTED, "interrupted"),
        (answered(200), "success"),
        (answered(404), "rejected"),
        (answered(501), "rejected"),
        (answered(500), "retryable"),
        (answered(429), "retryable"),
    ],
)
def test_what_the_metrics_call_it(outcome: Outcome, result: str) -> None:
    assert result_of(outcome, decide(outcome, FIRST, POLICY, 0.5)) == result


@pytest.mark.parametrize(
    ("outcome", "ending"),
    [
        (ConnectFailed(""), Ending.CONNECT),
        (NotSent(""), Ending.CONNECT),
        (TIMED_OUT, Ending.TIMEOUT),
        (INTERRUPTED, Ending.INTERRUPTED),
        (answered(200), Ending.SERVED),
        (answered(404), Ending.SERVED),
        (answered(501), Ending.FAILED),
        (answered(500, verdict=Verdict(Word.ACK)), Ending.SERVED),
        (answered(500, verdict=Verdict(Word.DEAD)), Ending.SERVED),
        (answered(200, verdict=Verdict(Word.RETRY)), Ending.PLAIN),
        (answered(200, verdict=Verdict(Word.PAUSE)), Ending.PLAIN),
        (answered(429), Ending.REFUSED),
        (answered(503, 7.0), Ending.REFUSED),
        (answered(408), Ending.PLAIN),
        (answered(503), Ending.OVERLOADED),
        (answered(500), Ending.FAILED),
    ],
)
def test_what_it_says_about_the_health_of_the_service(outcome: Outcome, ending: Ending) -> None:
    assert ending_of(outcome, decide(outcome, FIRST, POLICY, 0.5)) is ending
