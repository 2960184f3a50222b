"""A member of the group through librdkafka. It assigns itself nothing, so nothing is ever fetched.

librdkafka waits with a rebalance until its rebalance callback has taken partitions away or added them. The
callback here adds none, which keeps the Python wrapper from doing so by itself, and:
- what is assigned needs no more than that;
- what is revoked is given away by `release`, a call of `incremental_unassign` with nothing: the rebalance
  goes on then and not before, while heartbeats, commits and this client's polls go on.
What the member owns for the group is kept by the library apart from what is assigned locally
(`rkcg_group_assignment` in rdkafka_cgrp.c).

While a rebalance waits for `release`, the library does not tell that the session is over; nor does it always
while it joins anew. It can be told by the member's id: it is empty then, or another one. Such a client is
replaced.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from bufferproxy.log.kafka.engine import (
    ClientFailed,
    Committed,
    Failure,
    GroupClient,
    GroupListener,
    Trouble,
)
from bufferproxy.log.kafka.librdkafka.commits import CommitRequests
from bufferproxy.log.kafka.librdkafka.errors import failed, failure_of, made
from bufferproxy.records import Partition

logger = logging.getLogger(__name__)

JOIN_POLL_SECONDS = 0.05
"""That one poll waits within the library while it joins or hands over, ..."""
COMMIT_POLL_SECONDS = 0.01
"""... and while a commit is not answered. What comes there is served at once; what we are told is not."""

LEAVE_SECONDS = 5.0
"""That leaving the group may take: the library knows no bound."""


class LibrdkafkaMember(GroupClient):
    def __init__(self, settings: dict[str, Any], listener: GroupListener) -> None:
        self._listener = listener
        self._errors: list[Failure] = []
        self._joined = self._closing = False
        self._subscribed = False
        self._held = False
        """Something is revoked, and not given away yet."""
        self._releasing = False
        self._owned: set[Partition] = set()
        self._id: str | None = None
        """Under which `_owned` was assigned."""
        self._awake = threading.Event()
        self._commits = CommitRequests()
        self._consumer: Consumer | None = made(
            Consumer, {**settings, "error_cb": self._failed, "on_commit": self._commits.answered}
        )

    def subscribe(self, topics: Collection[str]) -> None:
        consumer = self._open()
        try:
            if topics:
                consumer.subscribe(
                    sorted(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
                )
            else:
                consumer.unsubscribe()
        except KafkaException as error:
            raise failed(error, "subscribing") from error
        self._subscribed = bool(topics)

    def poll(self, seconds: float) -> Sequence[Failure]:
        consumer = self._open()
        if self._releasing:
            self._let_go(consumer)
        self._commits.send(consumer)
        self._serve(consumer, 0)
        if self._commits.waiting:
            self._serve(consumer, min(seconds, COMMIT_POLL_SECONDS))
        elif self._subscribed and not self._joined and not self._held:
            self._serve(consumer, min(seconds, JOIN_POLL_SECONDS))
        else:
            # The library's own wait would wake up five times a second, and not for what we are told.
            self._awake.wait(seconds)
            self._awake.clear()
        if self._held and not consumer.memberid():
            self._errors.append(Failure(Trouble.FATAL, "the session ended during a hand-over"))
        errors, self._errors = self._errors, []
        for failure in errors:
            if failure.trouble in (Trouble.FATAL, Trouble.FENCED):
                self._closing = True
                self._commits.fail(failure.text)
                raise ClientFailed(failure)
        return errors

    def _open(self) -> Consumer:
        if self._consumer is None:
            raise ClientFailed(Failure(Trouble.FATAL, "closed"))
        return self._consumer

    def _serve(self, consumer: Consumer, seconds: float) -> None:
        """Callbacks are called within."""
        while (message := consumer.poll(seconds)) is not None:
            if (error := message.error()) is not None:
                self._errors.append(failure_of(error, message.topic()))
            seconds = 0

    def release(self) -> None:
        # The wrapper lets one thread at a time into a consumer, and who waits for that waits for a poll to
        # end, or for ever when the next one has begun: so the thread that polls does it.
        self._releasing = True
        self._awake.set()

    def _let_go(self, consumer: Consumer) -> None:
        self._releasing = False
        if self._held:
            self._held = False
            try:
                consumer.incremental_unassign([])
            except (KafkaException, RuntimeError) as error:
                logger.debug("nothing to give away: %s", error)

    def commit(self, offsets: Mapping[Partition, tuple[int, str]], done: Committed) -> None:
        self._commits.add(offsets, done)
        self._awake.set()
        if self._closing:
            self._commits.fail("the member has left its group")

    @property
    def joined(self) -> bool:
        return self._joined

    def close(self, *, leave: bool) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        # One that has failed may wait for ever for the end of a session that is over. When it does not leave,
        # its threads end with the last reference, and nothing is sent.
        leave = leave and not self._closing
        self._closing = True
        self._joined = False
        if leave:
            self._let_go(consumer)  # or the library would wait for it
            leaving = threading.Thread(target=consumer.close, name="bufferproxy-leave", daemon=True)
            leaving.start()
            leaving.join(LEAVE_SECONDS)
            if leaving.is_alive():
                logger.warning("a member has not left its group in %g s: left to itself", LEAVE_SECONDS)
        del consumer
        self._commits.fail("closed before the answer")

    # --- callbacks, within a poll

    def _assigned(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        consumer.incremental_assign([])
        if self._closing:
            return
        member = consumer.memberid()
        if self._owned and member != self._id:
            self._errors.append(Failure(Trouble.FATAL, "the session ended while joining"))
            return
        self._id = member
        assigned = _partitions(places)
        self._owned.update(assigned)
        self._joined = True
        self._listener.assigned(assigned)

    def _revoked(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        if self._closing:
            consumer.incremental_unassign([])
            return
        consumer.incremental_assign([])
        self._joined = self._releasing = False
        self._held = True
        revoked = _partitions(places)
        self._owned.difference_update(revoked)
        self._listener.revoked(revoked)

    def _lost(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        consumer.incremental_unassign([])
        self._joined = False
        self._owned.clear()
        if not self._closing:
            self._listener.lost(_partitions(places))

    def _failed(self, error: KafkaError) -> None:
        failure = failure_of(error)
        if failure.trouble is not Trouble.PASSING or error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._errors.append(failure)


def _partitions(places: Sequence[TopicPartition]) -> list[Partition]:
    return [Partition(place.topic, place.partition) for place in places]
