"""What the service did with an attempt, as a value: for `settle` to decide on. Pure."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import NamedTuple

from bufferproxy.config.units import parse_duration
from bufferproxy.http1.reply import Failure, Kind, Phase, Reply


class Word(StrEnum):
    """What a service may say in Bufferproxy-Outcome; it stands above the status."""

    ACK = "ack"
    RETRY = "retry"
    DEAD = "dead"
    PAUSE = "pause"


class Verdict(NamedTuple):
    """`delay` in seconds, for `retry` and `pause`; None when the service named none."""

    word: Word
    delay: float | None = None


class Answered(NamedTuple):
    """The service answered, 200 to 599. `retry_after`: seconds from now, not below 0; None without one."""

    status: int
    reply: Reply
    retry_after: float | None = None
    verdict: Verdict | None = None


class ConnectFailed(NamedTuple):
    """There was no connection: the fault of the service, nothing was sent. `kind` says how it failed."""

    detail: str
    kind: Kind = Kind.REFUSED


class NotSent(NamedTuple):
    """The connection had gone before the first byte: nobody's fault, send again on another one."""

    detail: str


class TimedOut(NamedTuple):
    """Sent, or partly sent, and not answered in time; it may have been acted on."""

    detail: str
    phase: Phase = Phase.FIRST_BYTE


class Interrupted(NamedTuple):
    """Sent, or partly sent, and the connection broke or no reply could be made of what came; it may have been
    acted on."""

    detail: str
    phase: Phase = Phase.REPLY
    kind: Kind = Kind.CLOSED


Outcome = Answered | ConnectFailed | NotSent | TimedOut | Interrupted


def outcome_of(result: Reply | Failure, now: float) -> Outcome:
    """`now` is seconds since the epoch: a Retry-After may be a date."""
    if isinstance(result, Reply):
        if result.retry_after is None and result.outcome is None:
            return Answered(result.status, result)
        return Answered(
            result.status, result, parse_retry_after(result.retry_after, now), parse_verdict(result.outcome)
        )
    if result.phase is Phase.CONNECT:
        return ConnectFailed(result.detail, result.kind)
    if not result.sent:
        return NotSent(result.detail)
    if result.kind is Kind.TIMEOUT:
        return TimedOut(result.detail, result.phase)
    return Interrupted(result.detail, result.phase, result.kind)


_SECONDS = re.compile(rb"[0-9]{1,10}")  # int() would take more: signs, underscores, other digits
_DATE = re.compile(rb"[A-Z][a-z]{2,8},? [ -~]{8,40}")


def parse_retry_after(value: bytes | None, now: float) -> float | None:
    """Seconds from `now`, which is seconds since the epoch; a date gone by is 0. None when it is neither a
    number of seconds nor one of the three forms of an HTTP date."""
    if value is None:
        return None
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    if not _DATE.fullmatch(value):
        return None
    try:
        date = parsedate_to_datetime(value.decode("ascii"))
        # asctime has no zone, and HTTP has only one.
        return max((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now, 0.0)
    except (ValueError, OverflowError):
        return None


def parse_verdict(value: bytes | None) -> Verdict | None:
    """`ack | retry [; delay=30s] | dead | pause [; delay=60s]`. None for any other word: then the status
    decides. Unknown parameters are ignored, and a delay that is none counts as not named: what was to be
    tried again must not end for the spelling of when."""
    if value is None:
        return None
    word, *parameters = (part.strip() for part in value.decode("latin-1").split(";"))
    try:
        said = Word(word.lower())
    except ValueError:
        return None
    for parameter in parameters:
        name, _, text = parameter.partition("=")
        if name.strip().lower() == "delay" and said in {Word.RETRY, Word.PAUSE}:
            return Verdict(said, _delay(text.strip()))
    return Verdict(said)


def _delay(text: str) -> float | None:
    try:
        return parse_duration(text)
    except ValueError:
        return None
