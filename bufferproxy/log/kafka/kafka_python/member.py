"""A member of the group through kafka-python. What is assigned to it is paused at once: nothing is fetched.

The library's I/O thread sends heartbeats and takes part in rebalances; it waits there, in a listener's
coroutine, until what is revoked may be given away. The library is polled while it joins, and at rest only so
often that it does not leave by itself: each of its polls costs some switches between threads.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from kafka import TopicPartition
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.errors import FencedInstanceIdError, KafkaError
from kafka.future import Future
from kafka.structs import OffsetAndMetadata

from bufferproxy.log.kafka.engine import (
    ClientFailed,
    Committed,
    Failure,
    GroupClient,
    GroupListener,
    Trouble,
)
from bufferproxy.log.kafka.kafka_python.assignor import Owned
from bufferproxy.log.kafka.kafka_python.errors import failure_of
from bufferproxy.log.kafka.kafka_python.private import Membership
from bufferproxy.log.kafka.kafka_python.topics import TopicsAsked
from bufferproxy.records import Partition

logger = logging.getLogger(__name__)

REST_SECONDS = 10.0
"""Between two polls of a library that has nothing to do: below `max_poll_interval_ms`."""
CLOSE_MILLISECONDS = 2000


class KafkaPythonMember(GroupClient):
    def __init__(
        self, consumer: Any, net: Any, owned: Owned, listener: GroupListener, session: float
    ) -> None:
        """`net` is the consumer's KafkaNetClient."""
        self._consumer = consumer
        self._net = net
        self._topics = TopicsAsked(net.cluster)
        self._owned = owned
        self._listener = listener
        self._awake = threading.Event()
        self._membership = Membership(consumer, session, self._awake.set)
        owned.on_joined = self._membership.joined
        self._rebalances = _Rebalances(self)
        self._released: Future | None = None
        self._undecided: dict[int, Committed] = {}
        self._numbers = itertools.count()
        self._subscribed = False
        self._polled_at = 0.0
        self._closing = False

    def subscribe(self, topics: Collection[str]) -> None:
        try:
            if topics:
                self._consumer.subscribe(sorted(topics), listener=self._rebalances)
            elif self._subscribed:
                self._lose_all()
                self._consumer.unsubscribe()
        except (KafkaError, OSError, RuntimeError) as error:
            raise ClientFailed(failure_of(error, doing="subscribing")) from error
        self._subscribed = bool(topics)
        self._topics.ask(topics)

    def poll(self, seconds: float) -> Sequence[Failure]:
        rested = self.joined or not self._subscribed
        if rested:
            self._awake.wait(seconds)
            self._awake.clear()
        if not self._subscribed:
            return ()
        if self._membership.fenced is not None:
            self._raise_fenced(self._membership.fenced)
        if self._membership.doubtful:
            self._lose_all()
            self._membership.resign()
            return [Failure(Trouble.NOT_A_MEMBER, "the group's coordinator does not answer")]
        if not self.joined or time.monotonic() - self._polled_at > REST_SECONDS:
            # A join that a poll does not wait for is taken up again by the next one.
            failure = self._poll_library(0.0 if rested else seconds)
            if failure is not None:
                return [failure]
        return self._topics.news()

    def _poll_library(self, seconds: float) -> Failure | None:
        self._polled_at = time.monotonic()
        try:
            self._consumer.poll(timeout_ms=int(seconds * 1000))
        except FencedInstanceIdError as error:
            self._raise_fenced(error)
        except KafkaError as error:
            self._awake.wait(max(0.0, self._polled_at + seconds - time.monotonic()))
            return failure_of(error, doing="the group")
        except (OSError, RuntimeError) as error:  # its I/O loop has crashed
            failure = failure_of(error, doing="the group")
            raise ClientFailed(failure._replace(trouble=Trouble.FATAL)) from error
        return None

    def _raise_fenced(self, error: FencedInstanceIdError) -> None:
        self._lose_all()
        raise ClientFailed(failure_of(error)) from error

    def _lose_all(self) -> None:
        if self._owned.places:
            self.lost(list(self._owned.places))

    def release(self) -> None:
        released, self._released = self._released, None
        if released is not None:
            self._membership.soon(lambda: released.success(None))

    # --- commits

    def commit(self, offsets: Mapping[Partition, tuple[int, str]], done: Committed) -> None:
        places = {
            TopicPartition(*partition): OffsetAndMetadata(offset, marks, -1)
            for partition, (offset, marks) in offsets.items()
        }
        number = next(self._numbers)
        self._undecided[number] = done
        try:
            future = self._membership.commit(places)
        except (KafkaError, OSError, RuntimeError) as error:  # closed, or its I/O loop has crashed
            self._decided(number, failure_of(error, doing="committing"))
            return
        future.add_callback(lambda _: self._decided(number, None))
        future.add_errback(lambda error: self._commit_failed(number, error))
        if self._closing:  # it may have been too late for the I/O thread
            self._decided(number, _CLOSED)

    def _commit_failed(self, number: int, error: BaseException) -> None:
        if isinstance(error, FencedInstanceIdError):
            self._membership.fenced = error
            self._awake.set()
        self._decided(number, failure_of(error, doing="committing"))

    def _decided(self, number: int, failure: Failure | None) -> None:
        done = self._undecided.pop(number, None)
        if done is not None:
            done(failure)

    # --- on any thread

    @property
    def joined(self) -> bool:
        return self._membership.stable and self._released is None

    def close(self, *, leave: bool) -> None:
        self._closing = True
        self.release()
        try:
            if leave:
                self._consumer.close(autocommit=False, timeout_ms=CLOSE_MILLISECONDS)
        finally:
            self._net.close()  # without `leave` as a crash would: the group is not told
            for number in list(self._undecided):
                self._decided(number, _CLOSED)

    # --- told on the I/O thread, while the library is polled

    def assigned(self, places: Collection[TopicPartition]) -> None:
        self._consumer.pause(*places)
        for place in places:
            self._consumer.seek(place, 0)  # or its offset would be asked for
        self._owned.places |= set(places)
        if not self._closing:
            self._listener.assigned([Partition(*place) for place in places])

    def revoked(self, places: Collection[TopicPartition]) -> Future | None:
        self._owned.places -= set(places)
        if self._closing:
            return None
        self._released = released = Future()
        self._listener.revoked([Partition(*place) for place in places])
        return released

    def lost(self, places: Collection[TopicPartition]) -> None:
        lost = self._owned.places & set(places)
        self._owned.places -= lost
        if lost and not self._closing:
            self._listener.lost([Partition(*place) for place in lost])


_CLOSED = Failure(Trouble.PASSING, "committing: the client was closed before the answer")


class _Rebalances(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, member: KafkaPythonMember) -> None:
        self._member = member

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._member.assigned(assigned)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        released = self._member.revoked(revoked)
        if released is not None:
            await released

    async def on_partitions_lost(self, lost: Collection[TopicPartition]) -> None:
        self._member.lost(lost)
