"""What we decided about a request after an attempt, or instead of one. A closed union."""

from __future__ import annotations

from typing import NamedTuple

from bufferproxy.http1.reply import Reply
from bufferproxy.records import State

Answer = Reply
"""What is kept of an attempt is the service's reply as it came."""


class Ack(NamedTuple):
    """It reached its end with an answer: delivered or rejected."""

    state: State
    answer: Answer


class Retry(NamedTuple):
    """Try this request again in `delay` seconds; an attempt is used up."""

    delay: float
    reason: str
    answer: Answer | None


class DeadLetter(NamedTuple):
    """It will not be tried again: kept with the reason and the last answer."""

    reason: str
    answer: Answer | None
    error: str


class Expire(NamedTuple):
    """Its time ran out before it was sent."""


class Release(NamedTuple):
    """Nothing happened to it: it stays where it is, no attempt is used up.

    `rest` > 0: the whole service rests for so many seconds; `sent`: it may have reached the service.
    """

    rest: float = 0.0
    detail: str = ""
    sent: bool = False


class Wait(NamedTuple):
    """Nothing is sent, and in `seconds` it is asked again. `of_key`: its key has had its turn; otherwise what
    may be sent again is used up."""

    seconds: float
    of_key: bool = True


class Repeat(NamedTuple):
    """It comes from a redrive of which another copy is under way, or was settled: dropped, unsent."""


Disposition = Ack | Retry | DeadLetter | Expire | Release | Wait | Repeat
