"""Records out: `submit` on the loop, kafka-python's sender thread, and the answers back in batches.

What a failure means. A batch that was handed to the network may be stored whatever is heard later; a record
is *refused* only when that cannot have happened:
1. it was never given to the producer (too large, no such partition, budget spent, producer being rebuilt);
2. no produce request for its partition left since it was submitted, so neither did its own batch;
3. the broker said that it is too large: such a batch is never stored, in no attempt.
All else is *uncertain*.

The producer is replaced when it can no longer be trusted:
a. after an error that kafka-python treats as fatal: it would fail every later record;
b. when a batch that was sent has expired: kafka-python 3.0.12 then drops its producer id and never asks for
   another one, and whatever is submitted later stays undecided for ever (seen with a frozen broker);
c. when a record is still undecided a second after its deadline, whatever the cause.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from bufferproxy.clock import Clock
from bufferproxy.errors import AppendRefused, AppendTooLarge, AppendUncertain, LogError, LogUnavailable
from bufferproxy.log.contract import Appended, Done
from bufferproxy.log.kafka.life import Batch, Life, ProducerClient
from bufferproxy.log.kafka.options import DELIVERY, Clients, describe, ours
from bufferproxy.log.kafka.wire import contents
from bufferproxy.records import Entry, Partition, Position

logger = logging.getLogger(__name__)

BUDGET = 64 << 20
"""Bytes that may be submitted and undecided: the producer itself has no limit."""
STALLED = 3.0
"""Seconds without any answer, with records outstanding, after which new ones are refused at once."""
OVERDUE = DELIVERY + 1.0
"""Seconds after which an undecided record is given up and the producer replaced."""


class Known(NamedTuple):
    """A topic that may be written to. `max_bytes`: of a record as Topic.max_bytes counts."""

    partitions: int
    max_bytes: int
    compact: bool


class _Submitted:
    """A record between `submit` and `done`."""

    __slots__ = ("at", "done", "life", "partition", "sends", "size")

    def __init__(self, life: Life, partition: Partition, done: Done, size: int, at: float) -> None:
        self.life = life
        self.partition = partition
        self.done: Done | None = done
        self.size = size
        self.at = at
        self.sends = life.client.sends.get(partition, 0)

    def meaning(self, error: Exception) -> AppendRefused | AppendUncertain:
        said = f"{self.partition}: {describe(error)}"
        if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
            return AppendTooLarge(said)
        if self.life.client.sends.get(self.partition, 0) == self.sends:
            return AppendRefused(f"{said} (never sent)")
        return AppendUncertain(said)


class Producer:
    """All methods but `landed` and `distrust` belong to the loop."""

    def __init__(self, clients: Clients, clock: Clock, *, budget: int = BUDGET) -> None:
        self.clock = clock
        self.topics: dict[str, Known] = {}
        self._clients = clients
        self._budget = budget
        self._loop = asyncio.get_running_loop()
        self._life: Life | None = None
        self._closed = False
        self._outstanding: deque[_Submitted] = deque()
        self._bytes = 0
        self._answered_at = clock.now()
        self._answers: deque[tuple[list[_Submitted], Sequence[Appended] | int]] = deque()
        self._alone: set[str] = set()
        self._scheduled = False
        self._waking = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._replacing: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._life = await asyncio.to_thread(self._born, [])
        self._watching = asyncio.create_task(self._watch())

    def _born(self, topics: list[str]) -> Life:
        life = Life(self._clients, self.landed)
        life.alone = self._alone
        try:
            life.warm(topics)
        except BaseException:
            life.close(0.0)
            raise
        return life

    async def know(self, topics: dict[str, Known]) -> None:
        """These may be written to from now on. Raises LogUnavailable."""
        life = self._life
        if life is None:
            raise LogUnavailable(self.trouble)
        with ours("asking for the topics' partitions"):
            await asyncio.to_thread(life.warm, list(topics))
        self.topics.update(topics)

    def submit(self, partition: Partition, entry: Entry, done: Done) -> None:
        """As LogWriter.submit."""
        size = size_of(entry)
        life = self._life
        refusal = self._refusal(partition, entry, size)
        if refusal is not None or life is None:
            done(refusal or AppendRefused(self.trouble))
            return
        submitted = _Submitted(life, partition, done, size, self.clock.now())
        client = life.client
        client.quiet = True
        try:
            rest = self._contents(partition, entry)
            life.append(partition, int(self.clock.wall() * 1000), rest, submitted)
        except (KafkaError, ValueError, TypeError, AttributeError) as error:
            done(submitted.meaning(error))  # it is in no batch
            return
        finally:
            client.quiet = False
        self._note(client, submitted)

    def submit_together(self, partition: Partition, entries: Sequence[Entry], done: Done) -> None:
        """As LogWriter.submit_together: they are a batch of their own."""
        sizes = [size_of(entry) for entry in entries]
        life = self._life
        refusal = self._refusal(partition, entries[0], sum(sizes))
        if refusal is not None or life is None:
            done(refusal or AppendRefused(self.trouble))
            return
        now = self.clock.now()
        dones = [done, *[_nothing] * (len(entries) - 1)]
        owners = [
            _Submitted(life, partition, each, size, now) for each, size in zip(dones, sizes, strict=True)
        ]
        client = life.client
        client.quiet = True
        try:
            rests = [self._contents(partition, entry) for entry in entries]
            life.append_together(partition, int(self.clock.wall() * 1000), rests, owners)
        except (KafkaError, ValueError, TypeError, AttributeError) as error:
            done(owners[0].meaning(error))
            return
        finally:
            client.quiet = False
        for owner in owners:
            self._note(client, owner)

    def _contents(self, partition: Partition, entry: Entry) -> bytes:
        # In a compact topic a record without headers and value stands for the absence of its key.
        tombstone = not entry.value and not entry.headers and self.topics[partition.topic].compact
        return contents(entry.key, None if tombstone else entry.value, entry.headers)

    def _note(self, client: ProducerClient, submitted: _Submitted) -> None:
        """It is in a batch."""
        if client.wanted and not self._waking:
            self._waking = True
            self._loop.call_soon(self._wake, client)
        if not self._outstanding:
            self._answered_at = submitted.at
            self._idle.clear()
        self._outstanding.append(submitted)
        self._bytes += submitted.size

    def _wake(self, client: ProducerClient) -> None:
        self._waking = False
        client.wake_if_wanted()
        if self._life is not None:  # replaced meanwhile
            self._life.client.wake_if_wanted()

    def _refusal(self, partition: Partition, entry: Entry, size: int) -> AppendRefused | None:
        known = self.topics.get(partition.topic)
        if known is None or not 0 <= partition.number < known.partitions:
            return AppendRefused(f"there is no {partition}")
        if size > known.max_bytes:
            return AppendTooLarge(
                f"{size} bytes are more than the {known.max_bytes} that {partition.topic} takes"
            )
        if self._closed:
            return AppendRefused("the log is closed")
        if known.compact and entry.key is None:
            return AppendRefused(f"{partition.topic} is compact: a record needs a key")
        if self._bytes + size > self._budget:
            return AppendRefused(f"{self._bytes} bytes wait for Kafka's answer: that is the limit")
        if self._stalled:
            return AppendRefused(self.trouble)
        return None

    @property
    def _stalled(self) -> bool:
        return bool(self._outstanding) and self.clock.now() - self._answered_at > STALLED

    @property
    def trouble(self) -> str:
        """Why all appends are refused now; empty when they are not."""
        if self._life is None:
            return "the Kafka producer is being replaced"
        return f"Kafka has not answered for {STALLED:g} s" if self._stalled else ""

    # --- answers ----------------------------------------------------------------------------------------

    def landed(self, batch: Batch, base: int, failed: Callable[[int], Exception] | None) -> None:
        """On the sender thread: a batch of `_Submitted` is decided. The loop is woken once for all that is
        decided until it looks."""
        owners: list[_Submitted] = batch.owners
        answers: Sequence[Appended] | int
        if failed is not None:
            answers = [self._failed(each, failed(n), len(owners)) for n, each in enumerate(owners)]
        elif base < 0:  # a duplicate so old that the broker no longer knows where the first one lies
            answers = [AppendUncertain(f"{each.partition}: stored, but not known where") for each in owners]
        else:
            answers = base
        self._answers.append((owners, answers))
        if not self._scheduled:
            self._scheduled = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:  # the loop has ended, and with it whoever waited
                logger.debug("an answer came after the end of the loop")

    def _failed(self, submitted: _Submitted, error: Exception, together: int) -> Appended:
        result: AppendRefused | AppendUncertain = submitted.meaning(error)
        if not getattr(error, "retriable", False) or isinstance(result, AppendUncertain):  # cases a and b
            self.distrust(submitted.life, describe(error))
        if isinstance(result, AppendTooLarge) and together > 1:
            # All of them were, together: a topic that takes less than a batch. From now on one by one.
            self._alone.add(submitted.partition.topic)
            return AppendRefused(f"{result} (with {together - 1} others)")
        return result

    def _deliver(self) -> None:
        # Before looking: what is appended after the last look schedules another delivery.
        self._scheduled = False
        answers = self._answers
        while answers:
            owners, results = answers.popleft()
            if isinstance(results, int):
                self._answered_at = self.clock.now()
                for submitted in owners:
                    self._finish(submitted, Position(submitted.partition, results))
                    results += 1
            else:
                for submitted, result in zip(owners, results, strict=True):
                    self._finish(submitted, result)
        self._forget()

    def _finish(self, submitted: _Submitted, result: Appended) -> None:
        done, submitted.done = submitted.done, None
        if done is None:  # given up before
            return
        self._bytes -= submitted.size
        done(result)

    def _forget(self) -> None:
        outstanding = self._outstanding
        while outstanding and outstanding[0].done is None:
            outstanding.popleft()
        if not outstanding:
            self._idle.set()

    # --- trust ------------------------------------------------------------------------------------------

    def distrust(self, life: Life, why: str) -> None:
        """On any thread: `life` will not store anything again."""
        try:
            self._loop.call_soon_threadsafe(self._replace, life, why)
        except RuntimeError:
            logger.debug("a producer failed after the end of the loop")

    def _replace(self, life: Life, why: str) -> None:
        if life is not self._life or self._closed:
            return
        logger.warning("the Kafka producer is replaced: %s", why)
        self._life = None
        self._replacing = asyncio.create_task(self._rebuild(life))

    async def _rebuild(self, old: Life) -> None:
        closing = asyncio.create_task(asyncio.to_thread(old.close, 0.5))
        while not self._closed:
            try:
                self._life = await asyncio.to_thread(self._born, list(self.topics))
                break
            # RuntimeError: no thread is to be had, or the new one's I/O loop has crashed.
            except (LogError, KafkaError, OSError, RuntimeError) as error:
                logger.warning("no new Kafka producer yet: %s", describe(error))
            except Exception:
                logger.exception("making a Kafka producer met a bug")
            await self.clock.sleep(0.5)
        await asyncio.wait([closing])
        if (failure := closing.exception()) is not None:
            logger.warning("the former Kafka producer did not close in order: %s", describe(failure))

    async def _watch(self) -> None:
        while True:
            await self.clock.sleep(0.5)
            self._give_up_the_overdue()

    def _give_up_the_overdue(self) -> None:
        overdue = self.clock.now() - OVERDUE
        waiting = [submitted for submitted in self._outstanding if submitted.done is not None]
        late = [submitted for submitted in waiting if submitted.at < overdue]
        if not late:
            return
        self._replace(late[0].life, f"{len(late)} records are undecided after {OVERDUE:g} s")
        for submitted in late:
            self._finish(submitted, AppendUncertain(f"{submitted.partition}: no answer in {OVERDUE:g} s"))
        self._forget()

    async def close(self, seconds: float = OVERDUE + 1) -> None:
        """Waits for what is outstanding; what is not answered in time is uncertain."""
        self._closed = True
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            for submitted in list(self._outstanding):
                self._finish(submitted, AppendUncertain(f"{submitted.partition}: closed before the answer"))
            self._forget()
        await self._end(1.0)

    async def abandon(self) -> None:
        """As a crash would: nothing is flushed, nobody is told."""
        self._closed = True
        for submitted in self._outstanding:
            submitted.done = None
        await self._end(0.0)

    async def _end(self, seconds: float) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if self._replacing is not None:
            await asyncio.wait([self._replacing])
        life, self._life = self._life, None
        if life is not None:
            await asyncio.to_thread(life.close, seconds)

    def __repr__(self) -> str:
        state = "up" if self._life else "down"
        return f"<Producer {state} {len(self._outstanding)} outstanding, {self._bytes} bytes>"


def _nothing(_: Appended) -> None: ...


def size_of(entry: Entry) -> int:
    """Bytes of a record as Topic.max_bytes counts: key, value, headers."""
    size = len(entry.value) + (len(entry.key) if entry.key is not None else 0)
    for name, value in entry.headers:
        size += len(name) + len(value)
    return size
