"""kafka-python's errors, by what they mean for us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kafka import errors
from kafka.errors import KafkaError

from bufferproxy.errors import LogUnavailable
from bufferproxy.log.kafka.engine import ClientFailed, Failure, Trouble

_TROUBLES: tuple[tuple[Trouble, tuple[type[BaseException], ...]], ...] = (
    (Trouble.TOO_LARGE, (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)),
    (Trouble.INVALID, (errors.InvalidTimestampError, errors.InvalidRecordError, errors.PolicyViolationError)),
    (Trouble.AUTHENTICATION, (errors.SaslAuthenticationFailedError,)),
    (Trouble.DENIED, (errors.AuthorizationError,)),
    (Trouble.MISSING, (errors.UnknownTopicOrPartitionError, errors.InvalidTopicError)),
    (Trouble.FENCED, (errors.FencedInstanceIdError,)),
    (Trouble.REBALANCING, (errors.RebalanceInProgressError,)),
    (
        Trouble.NOT_A_MEMBER,
        (
            errors.UnknownMemberIdError,
            errors.IllegalGenerationError,
            errors.CommitFailedError,
        ),
    ),
)


def trouble_of(error: BaseException) -> Trouble:
    cause = error.args[0] if error.args else None
    if isinstance(error, errors.CommitFailedError) and isinstance(cause, errors.RebalanceInProgressError):
        return Trouble.REBALANCING
    return next((trouble for trouble, kinds in _TROUBLES if isinstance(error, kinds)), Trouble.PASSING)


def failure_of(error: BaseException, topic: str | None = None, doing: str = "") -> Failure:
    text = describe(error)
    if isinstance(error, errors.FencedInstanceIdError):
        text += ": another worker uses the same `worker.id`, give each its own"
    return Failure(trouble_of(error), ": ".join(part for part in (doing, topic or "", text) if part), topic)


def describe(error: BaseException) -> str:
    text = str(error)
    name = type(error).__name__
    return text if text.startswith(name) else f"{name}: {text}" if text else name


@contextmanager
def ours(doing: str) -> Iterator[None]:
    """Turns what kafka-python raises into LogUnavailable."""
    try:
        yield
    except ClientFailed as error:
        raise LogUnavailable(error.failure.text) from (error.__cause__ or error)
    # RuntimeError is what a client's closed or crashed I/O loop answers.
    except (KafkaError, OSError, RuntimeError) as error:
        raise LogUnavailable(f"{doing}: {describe(error)}") from error


def passes(error: BaseException | None) -> bool:
    """Kafka's word that it will know better soon: an election, a coordinator that loads."""
    return isinstance(error, errors.BrokerResponseError | errors.NodeNotReadyError) and (
        bool(getattr(error, "retriable", False)) or isinstance(error, errors.NodeNotReadyError)
    )


def forbids(error: BaseException | None) -> bool:
    """The broker's access lists do not let us."""
    return isinstance(error, errors.AuthorizationError)
