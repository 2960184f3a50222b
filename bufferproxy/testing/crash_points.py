"""Places of the product at which it kills itself with SIGKILL, at the n-th passage: `before-send:20`.

`poison:/x` kills at the sending of every request whose target begins with `/x`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

from bufferproxy.testing.patching import wrap


def die() -> None:
    """Nothing is flushed, nobody is told."""
    os.kill(os.getpid(), signal.SIGKILL)


class Passages:
    """Counts down to the one that kills."""

    def __init__(self, nth: int) -> None:
        self._left = nth

    def one(self) -> None:
        self._left -= 1
        if self._left == 0:
            die()


def _before(owner: Any, name: str, passages: Passages, *, when: Callable[..., bool] | None = None) -> None:
    def around(original: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        if when is None or when(*arguments):
            passages.one()
        return original(*arguments, **named)

    wrap(owner, name, around)


def _before_acknowledge(passages: Passages) -> None:
    """The request is durable, its caller does not know."""
    from bufferproxy.accept import handler

    _before(vars(handler)["Pending"], "stored", passages)


def _after_fetch(passages: Passages) -> None:
    from bufferproxy.drain.worker import Worker

    _before(Worker, "_take_in", passages)


def _before_send(passages: Passages) -> None:
    from bufferproxy.deliver.service import Service

    _before(Service, "attempt", passages)


def _after_send(passages: Passages) -> None:
    """The request is with the system, its answer is not here."""
    from bufferproxy.deliver.service import Service

    def around(original: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        sent = original(*arguments, **named)
        passages.one()
        return sent

    wrap(Service, "attempt", around)


def _after_reply(passages: Passages) -> None:
    from bufferproxy.drain.worker import Worker

    _before(Worker, "_conclude", passages)


def _after_settle(passages: Passages) -> None:
    """The end is durable, and the record is not committed."""
    from bufferproxy.drain.worker import Worker

    _before(Worker, "_settled", passages)


def _before_commit(passages: Passages) -> None:
    from bufferproxy.log.kafka.reader import KafkaReader
    from bufferproxy.log.local import LocalReader

    for reader in (KafkaReader, LocalReader):
        _before(reader, "commit", passages)


def _during_retry(passages: Passages) -> None:
    """The copy that waits for its time is durable, and what it was copied from is not settled: both will be
    delivered."""
    from bufferproxy.settle.disposition import Retry
    from bufferproxy.settle.settler import Settler

    def settle(
        original: Callable[..., None], settler: Settler, request: Any, fate: Any, settled: Callable[[], None]
    ) -> None:
        def stored() -> None:
            passages.one()
            settled()

        original(settler, request, fate, stored if isinstance(fate, Retry) else settled)

    wrap(Settler, "settle", settle)


POINTS: Mapping[str, Callable[[Passages], None]] = {
    "before-acknowledge": _before_acknowledge,
    "after-fetch": _after_fetch,
    "before-send": _before_send,
    "after-send": _after_send,
    "after-reply": _after_reply,
    "after-settle": _after_settle,
    "before-commit": _before_commit,
    "during-retry": _during_retry,
}


def _poison(target: str) -> None:
    from bufferproxy.deliver.service import Service

    def is_poison(service: Service, connection: Any, request: Any, *_: Any) -> bool:
        return bool(request.head.split(b" ", 2)[1].startswith(target.encode()))

    _before(Service, "attempt", Passages(1), when=is_poison)


def apply(name: str) -> None:
    """`POINT:N` or `poison:TARGET`. Raises KeyError for a point that is not known."""
    point, _, detail = name.partition(":")
    if point == "poison":
        _poison(detail)
    else:
        POINTS[point](Passages(int(detail)))
