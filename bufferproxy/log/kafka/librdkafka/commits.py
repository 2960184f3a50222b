"""Commits on their way through librdkafka, which answers by telling what was to be committed."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from bufferproxy.log.kafka.engine import Committed, Failure, Trouble
from bufferproxy.log.kafka.librdkafka.errors import failure_of
from bufferproxy.records import Partition

_Offsets = frozenset[tuple[str, int, int]]

NOT_A_MEMBER = Failure(Trouble.NOT_A_MEMBER, "committing: not a member of the group")


class CommitRequests:
    """`add` and `fail` may be called on any thread, the rest belongs to the one that polls."""

    def __init__(self) -> None:
        self._wanted: deque[tuple[Mapping[Partition, tuple[int, str]], Committed]] = deque()
        self._sent: list[tuple[_Offsets, Committed]] = []

    @property
    def waiting(self) -> bool:
        return bool(self._sent)

    def add(self, offsets: Mapping[Partition, tuple[int, str]], done: Committed) -> None:
        self._wanted.append((offsets, done))

    def send(self, consumer: Consumer) -> None:
        while self._wanted:
            offsets, done = self._wanted.popleft()
            failure = self._send(consumer, offsets, done)
            if failure is not None:
                done(failure)

    def _send(
        self, consumer: Consumer, offsets: Mapping[Partition, tuple[int, str]], done: Committed
    ) -> Failure | None:
        # Without a member's id it would count as a commit from outside: a group that is empty takes those.
        if not consumer.memberid():
            return NOT_A_MEMBER
        sent = frozenset((p.topic, p.number, offset) for p, (offset, _) in offsets.items()), done
        self._sent.append(sent)
        places = [TopicPartition(*p, offset, metadata) for p, (offset, metadata) in offsets.items()]
        try:
            consumer.commit(offsets=places, asynchronous=True)
        except (KafkaException, RuntimeError) as error:
            self._sent.remove(sent)
            cause = error.args[0] if error.args else None
            if isinstance(cause, KafkaError):
                return failure_of(cause, None, "committing")
            return Failure(Trouble.PASSING, f"committing: {error}")
        return None

    def answered(self, error: KafkaError | None, places: Sequence[TopicPartition]) -> None:
        """Two requests for the same offsets are the same; others may be answered out of turn, when one was
        sent again."""
        told = frozenset((place.topic, place.partition, place.offset) for place in places)
        at = next((n for n, (offsets, _) in enumerate(self._sent) if offsets == told), None)
        if at is None:
            return
        _, done = self._sent.pop(at)
        if error is None:
            error = next((place.error for place in places if place.error is not None), None)
        done(None if error is None else failure_of(error, None, "committing"))

    def fail(self, why: str) -> None:
        """All that is not decided."""
        while self._wanted:
            self._wanted.popleft()[1](Failure(Trouble.NOT_A_MEMBER, f"committing: {why}"))
        while self._sent:
            self._sent.pop()[1](Failure(Trouble.PASSING, f"committing: {why}"))
