"""What the service did. A closed union; what we make of it is decided in `settle/decide.py`. Pure."""

from __future__ import annotations

from typing import NamedTuple

from bufferproxy.http1.reply import Reply


class Verdict(NamedTuple):
    """`Bufferproxy-Outcome`: ack | retry [; delay=30s] | dead | pause [; delay=60s]. `delay` in seconds."""

    word: str
    delay: float | None = None


class Answered(NamedTuple):
    """A whole reply came. `retry_after`: seconds from now, None when not said."""

    status: int
    reply: Reply
    retry_after: float | None = None
    verdict: Verdict | None = None


class ConnectFailed(NamedTuple):
    """No connection; nothing was sent."""

    detail: str


class NotSent(NamedTuple):
    """The connection was gone before the first byte was written."""

    detail: str


class TimedOut(NamedTuple):
    """The request may have arrived, and no whole reply came within the deadline."""

    detail: str


class Interrupted(NamedTuple):
    """The request may have arrived, and the exchange broke off or the reply made no sense."""

    detail: str


Outcome = Answered | ConnectFailed | NotSent | TimedOut | Interrupted
