"""What kafka-python 3.0.12 does not offer in public: five names, and why each is needed.

`_coordinator`       the group's client side: whether this is a stable member, and how it stops being one
`_manager`           the client's I/O thread, which owns all of that: commits are sent there
`_send_offset_commit_request`
                     one commit and its own answer. `commit_async` returns the answer to another question when
                     the coordinator is not known, and `commit` tries again by itself, past our gate.
`_send_heartbeat_request`
                     what the coordinator answers, and when: the proof of membership, and that somebody else
                     took our `group.instance.id`, of which the library tells nobody
`_sender`            the producer's I/O thread: one topic that is denied must not end it, and it ends by force

`tests/unit/log/kafka/test_kafka_python_private.py` fails when one of them is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kafka import errors
from kafka.future import Future

from bufferproxy.clock import SystemClock

TRUSTED_SHARE = 0.8
"""Of a session, for which an answer is trusted: the coordinator may count from a little earlier."""


class Membership:
    """Whether the group counts a consumer as its member, as far as that can be known from here.

    The library asks for the coordinator again when its heartbeats are not answered, and then believes for
    another session that all is well: cut off from the coordinator alone, it would go on for ever, beside the
    next owner of its partitions. A heartbeat that is answered says that it was a member when it was sent, and
    nobody else gets its partitions for a session from then on.
    """

    def __init__(self, consumer: Any, session: float, heard: Callable[[], None]) -> None:
        """`heard` is called on the I/O thread when a heartbeat is decided."""
        coordinator = self._coordinator = consumer._coordinator
        self._manager = consumer._manager
        self._trusted = TRUSTED_SHARE * session
        self._now = SystemClock.now
        self._proved_at = self._now()
        self._heard = heard
        self.fenced: errors.FencedInstanceIdError | None = None
        """Somebody else took our `group.instance.id`."""
        self._beat = coordinator._send_heartbeat_request
        coordinator._send_heartbeat_request = self._watched_beat
        # 3.0.12 asks in each poll whether to join, also while it joins. When it leads the group and joins
        # because a topic was made or grew, the answer is no from the moment that it has made the assignment:
        # a poll that ran out before the broker's answer is followed by none that takes it. The member then
        # holds nothing and sends no heartbeats, for ever, and says nothing.
        asks = coordinator.need_rejoin
        coordinator.need_rejoin = lambda: coordinator.rejoining or asks()

    async def _watched_beat(self) -> None:
        sent_at = self._now()
        try:
            await self._beat()
            self._proved_at = max(self._proved_at, sent_at)
        except errors.RebalanceInProgressError:  # which waits for its members
            self._proved_at = max(self._proved_at, sent_at)
            raise
        except errors.FencedInstanceIdError as error:
            self.fenced = error
            raise
        finally:
            self._heard()

    def joined(self) -> None:
        """The group has just made an assignment for it."""
        self._proved_at = self._now()

    @property
    def stable(self) -> bool:
        """It takes itself for a member, and no rebalance is under way."""
        return bool(self._coordinator.stable()) and not self._coordinator.need_rejoin()

    @property
    def doubtful(self) -> bool:
        """It takes itself for a member and has had no answer for too long. (While it joins, the group waits
        for it.)"""
        return bool(self._coordinator.stable()) and self._now() - self._proved_at > self._trusted

    def resign(self) -> None:
        """It is a member no more, and joins again when the coordinator answers."""
        self._proved_at = self._now()
        self.soon(self._coordinator.reset_generation)

    def commit(self, places: Mapping[Any, Any]) -> Future:
        """Raises RuntimeError or KafkaError when the client is closed."""
        return self._manager.call_soon(self._coordinator._send_offset_commit_request, places)

    def soon(self, call: Callable[[], object]) -> None:
        """On the I/O thread; not at all when the client is closed."""
        try:
            self._manager.call_soon(call)
        except (RuntimeError, errors.KafkaError):
            return


class Sending:
    """A producer that survives what concerns some of its records only.

    3.0.12 ends an idempotent producer for good at any error that cannot be tried again: after one topic that
    is denied, one record that is too large or stamped too late, each record of every topic fails with that
    error. And when a batch that was sent and tried again has expired, it drops its producer id and never
    asks for another, so all that comes later stays undecided. In both cases the numbers of that partition's
    records have a gap, and it is enough to number them anew under another producer id (KIP-360), as Java's
    does. Brokers before 2.5 know no such change: there the producer is replaced.
    """

    def __init__(self, producer: Any, of_the_record: Callable[[BaseException], bool]) -> None:
        self._sender = producer._sender
        transactions = self._transactions = self._sender.config["transaction_manager"]
        if producer.config["api_version"] < (2, 5):
            return
        classify = transactions.classify_batch_error

        def classified(error: Any, batch: Any, log_start_offset: int = -1) -> Any:
            verdict = classify(error, batch, log_start_offset=log_start_offset)
            if batch.drained is None:
                error.never_sent = True  # it was in no request, so no number was used
                return transactions.ERROR_CLASS_RETRIABLE
            if verdict == transactions.ERROR_CLASS_RETRIABLE or of_the_record(error):
                return transactions.ERROR_CLASS_NEEDS_EPOCH_BUMP
            return verdict

        transactions.classify_batch_error = classified
        transactions.reset_producer_id = transactions.bump_producer_id_and_epoch

    @property
    def dead(self) -> bool:
        """It will not store anything again."""
        return bool(self._transactions.has_fatal_error())

    def end(self, seconds: float) -> None:
        """Fails what is not decided, and ends the thread."""
        self._sender.force_close()
        self._sender.join(seconds)


def never_sent(error: BaseException) -> bool:
    return bool(getattr(error, "never_sent", False))
