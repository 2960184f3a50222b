"""Outcome -> disposition. Pure.

Whose fault is it? A cause that belongs to the service (connect, `Retry-After`, 429, pause) moves no record
and uses no attempt up: the service rests. Only a cause that belongs to the request (5xx, 408, 425, timeout,
a broken exchange) makes a retry, and after the last one a dead letter.
"""

from __future__ import annotations

from typing import NamedTuple, assert_never

from bufferproxy.deliver.outcome import (
    Answered,
    ConnectFailed,
    Interrupted,
    NotSent,
    Outcome,
    TimedOut,
    Verdict,
)
from bufferproxy.policy.backoff import backoff
from bufferproxy.policy.tally import Ending
from bufferproxy.records import State
from bufferproxy.settle.disposition import Ack, Answer, DeadLetter, Disposition, Release, Retry

UNSAID_REST = 1.0
"""Seconds that a service rests after a 429 without Retry-After: it asked for less, not for a refusal."""

PAUSE = 60.0
"""Seconds of `Bufferproxy-Outcome: pause` without a delay."""


LONGEST_REST = 86_400.0
"""Seconds that a service may put itself to rest for; a mistake of its clock should not end it."""


DELIVERED = frozenset(range(200, 400))
"""`delivered` of the settings, by default."""


class RetryPolicy(NamedTuple):
    """`retry` and `delivered` of the settings. `statuses`: which of 400..599 are tried again; `timeout`: so
    is no answer; `interrupted`: so is half of one (not where delivery is `at_most_once`: it may have been
    acted upon); `delivered`: the statuses that end a request well."""

    attempts: int
    first: float
    max: float
    jitter: str
    statuses: frozenset[int]
    timeout: bool
    interrupted: bool = True
    delivered: frozenset[int] = DELIVERED


def decide(outcome: Outcome, attempts: int, policy: RetryPolicy, random: float) -> Disposition:
    """`attempts` counts this attempt already, if it was sent. `random` is uniform in [0, 1)."""
    match outcome:
        case ConnectFailed(detail=detail) | NotSent(detail=detail):
            return Release(detail=detail)
        case TimedOut(detail=detail):
            if policy.timeout:
                return _again(attempts, policy, random, "timeout", None, detail)
            return DeadLetter("timeout", None, detail)
        case Interrupted(detail=detail):
            if not policy.interrupted:
                return DeadLetter("interrupted", None, detail)
            return _again(attempts, policy, random, "interrupted", None, detail)
        case Answered():
            return _answered(outcome, attempts, policy, random)
        case _:
            assert_never(outcome)


def _answered(outcome: Answered, attempts: int, policy: RetryPolicy, random: float) -> Disposition:
    status, answer = outcome.status, outcome.reply
    if outcome.verdict is not None:
        return _told(outcome.verdict, answer, attempts, policy, random)
    if status == 429 or (status == 503 and outcome.retry_after is not None):
        rest = UNSAID_REST if outcome.retry_after is None else outcome.retry_after
        return Release(rest=min(rest, LONGEST_REST), detail=f"the service answered {status}", sent=True)
    if status in policy.delivered:
        return Ack(State.DELIVERED, answer)
    if status in policy.statuses:
        return _again(attempts, policy, random, str(status), answer, f"the service answered {status}")
    return Ack(State.REJECTED, answer)


def _told(verdict: Verdict, answer: Answer, attempts: int, policy: RetryPolicy, random: float) -> Disposition:
    """`Bufferproxy-Outcome` overrides the status."""
    match verdict.word:
        case "ack":
            return Ack(State.DELIVERED, answer)
        case "dead":
            return DeadLetter("outcome", answer, "the service answered Bufferproxy-Outcome: dead")
        case "pause":
            rest = PAUSE if verdict.delay is None else verdict.delay
            return Release(rest=min(rest, LONGEST_REST), detail="the service asked for a pause", sent=True)
        case _:
            again = _again(attempts, policy, random, "outcome", answer, "Bufferproxy-Outcome: retry")
            if isinstance(again, Retry) and verdict.delay is not None:
                return again._replace(delay=verdict.delay)
            return again


def _again(
    attempts: int, policy: RetryPolicy, random: float, reason: str, answer: Answer | None, error: str
) -> Disposition:
    if attempts >= policy.attempts:
        return DeadLetter("attempts", answer, f"{attempts} attempts, the last: {error}")
    delay = backoff(attempts, first=policy.first, max=policy.max, jitter=policy.jitter, random=random)
    return Retry(delay, reason, answer)


def ending_of(outcome: Outcome, disposition: Disposition) -> Ending:
    """What an attempt says about the health of the service."""
    match outcome:
        case ConnectFailed() | NotSent():
            return Ending.CONNECT
        case TimedOut():
            return Ending.TIMEOUT
        case Interrupted():
            return Ending.INTERRUPTED
        case Answered(status=status, verdict=verdict):
            if verdict is not None and verdict.word in ("ack", "dead"):
                return Ending.SERVED
            # A service that fails with what is not tried again fails all the same.
            if isinstance(disposition, Ack) and (status < 500 or disposition.state is State.DELIVERED):
                return Ending.SERVED
            if verdict is not None:
                return Ending.PLAIN
            if isinstance(disposition, Release):
                return Ending.REFUSED
            if status < 500:
                return Ending.PLAIN
            return Ending.OVERLOADED if status == 503 else Ending.FAILED
        case _:
            assert_never(outcome)


def result_of(outcome: Outcome, disposition: Disposition) -> str:
    """The `result` of delivery_attempts_total."""
    match outcome:
        case ConnectFailed() | NotSent():
            return "connect"
        case TimedOut():
            return "timeout"
        case Interrupted():
            return "interrupted"
        case Answered():
            if isinstance(disposition, Ack):
                return "success" if disposition.state is State.DELIVERED else "rejected"
            return "retryable" if isinstance(disposition, Retry | Release) else "rejected"
        case _:
            assert_never(outcome)
