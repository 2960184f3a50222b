"""librdkafka's errors, by what they mean for us."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

from bufferproxy.errors import LogUnusable
from bufferproxy.log.kafka.engine import ClientFailed, Failure, Trouble
from bufferproxy.log.kafka.librdkafka.logs import QUIET

_TROUBLES = {
    Trouble.TOO_LARGE: (
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_MSG_SIZE,
    ),
    Trouble.INVALID: (KafkaError.INVALID_TIMESTAMP, KafkaError.INVALID_RECORD, KafkaError.POLICY_VIOLATION),
    Trouble.DENIED: (
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    ),
    Trouble.MISSING: (
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_EXCEPTION,
    ),
    # The second: the broker refused another record of the batch, and stored none.
    Trouble.UNSENT: (
        KafkaError._PURGE_QUEUE,
        KafkaError._INVALID_DIFFERENT_RECORD,
        KafkaError._QUEUE_FULL,
    ),
    Trouble.AUTHENTICATION: (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED),
    Trouble.NOT_A_MEMBER: (
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError._ASSIGNMENT_LOST,
    ),
    Trouble.FENCED: (KafkaError.FENCED_INSTANCE_ID,),
    Trouble.REBALANCING: (KafkaError.REBALANCE_IN_PROGRESS,),
    Trouble.FATAL: (KafkaError._FATAL,),
}
_BY_CODE = {code: trouble for trouble, codes in _TROUBLES.items() for code in codes}
_FENCED = KafkaError(KafkaError.FENCED_INSTANCE_ID).str()
"""The library tells it once more, as the cause of a fatal error."""


def failure_of(error: KafkaError, topic: str | None = None, doing: str = "") -> Failure:
    trouble = _BY_CODE.get(error.code(), Trouble.PASSING)
    text = error.str()
    if trouble is Trouble.FENCED or (trouble is Trouble.FATAL and _FENCED in text):
        trouble = Trouble.FENCED
        text += ": another worker uses the same `worker.id`, give each its own"
    elif error.fatal():
        trouble = Trouble.FATAL
    said = ": ".join(part for part in (doing, topic or "", f"{error.name()} ({text})") if part)
    return Failure(trouble, said, topic)


def failed(error: KafkaException, doing: str, topic: str | None = None) -> ClientFailed:
    return ClientFailed(failure_of(error.args[0], topic, doing))


@contextmanager
def fatal(doing: str) -> Iterator[None]:
    """What fails within leaves the client in a state that nobody knows."""
    try:
        yield
    except (KafkaException, RuntimeError) as error:
        cause = error.args[0] if error.args else None
        text = failure_of(cause, None, doing).text if isinstance(cause, KafkaError) else f"{doing}: {error}"
        raise ClientFailed(Failure(Trouble.FATAL, text)) from error


C = TypeVar("C")


def made(kind: Callable[..., C], settings: dict[str, Any]) -> C:
    """A client. Raises LogUnusable for settings that cannot be together."""
    try:
        return kind(settings, logger=QUIET)
    except KafkaException as error:
        cause = error.args[0]
        if cause.code() in (KafkaError._INVALID_ARG, KafkaError._FAIL, KafkaError._SSL):
            raise LogUnusable(f"kafka: {cause.str().strip()}") from error
        raise failed(error, "making a client") from error
    except (TypeError, ValueError) as error:
        raise LogUnusable(f"kafka: {error}") from error
