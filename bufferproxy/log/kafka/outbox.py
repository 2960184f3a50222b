"""Records on their way to Kafka: `submit` on the loop, a SendClient, and the answers back in batches.

What a failure means for a record:
1. refused: it never left (no such partition, budget spent, client being replaced, UNSENT), or a broker said
   that it will not store it (TOO_LARGE, INVALID, DENIED, MISSING);
2. uncertain: everything else.

What concerns a record or a topic leaves the client alone. The client is replaced when it can no longer be
trusted: after a failure that it calls FATAL, or when a record is undecided a second after its deadline.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import NamedTuple

from bufferproxy.clock import Clock
from bufferproxy.errors import AppendRefused, AppendTooLarge, AppendUncertain, LogUnavailable, LogUnusable
from bufferproxy.log.contract import Appended, Done
from bufferproxy.log.kafka.engine import ClientFailed, Engine, Failure, SendClient, Trouble
from bufferproxy.log.kafka.options import DELIVERY_SECONDS
from bufferproxy.log.kafka.troubles import Troubles
from bufferproxy.records import Entry, Partition, Position

logger = logging.getLogger(__name__)

BUDGET_BYTES = 64 << 20
"""That may be submitted and undecided: a client itself has no limit."""
STALLED_SECONDS = 3.0
"""Without any answer, with records outstanding, after which new ones are refused at once."""
OVERDUE_SECONDS = DELIVERY_SECONDS + 1.0
"""After which an undecided record is given up and the client replaced."""
WATCH_SECONDS = 0.5
WARM_SECONDS = 5.0
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 8.0
"""Seconds until a client that cannot be made, or did not last, is made again."""
FIRST_DENIED, LONGEST_DENIED = 2.0, 60.0
"""Seconds for which what goes to a topic is refused at once after it was denied or found missing: twice as
long each time, for with some clients finding out costs the client."""

BATCH_BYTES = 96 << 10
"""Of records that are sent together, at most: one that is larger was sent alone."""

_REFUSED = frozenset({Trouble.INVALID, Trouble.DENIED, Trouble.MISSING, Trouble.UNSENT, Trouble.TOO_LARGE})


class Known(NamedTuple):
    """A topic that may be written to. `max_bytes`: of a record as Topic.max_bytes counts."""

    partitions: int
    max_bytes: int
    compact: bool


class _Denied(NamedTuple):
    """A topic that is refused `until` a moment, for `lasts` seconds, and why."""

    until: float
    lasts: float
    text: str


class _Submitted:
    """A record between `submit` and `done`."""

    __slots__ = ("at", "done", "partition", "size")

    def __init__(self, partition: Partition, done: Done, size: int, at: float) -> None:
        self.partition = partition
        self.done: Done | None = done
        self.size = size
        self.at = at


class Outbox:
    """All methods but `landed` belong to the loop."""

    def __init__(self, engine: Engine, clock: Clock, *, budget: int = BUDGET_BYTES) -> None:
        self.clock = clock
        self.topics: dict[str, Known] = {}
        self.troubles = Troubles(clock)
        self.replaced = 0
        self._engine = engine
        self._budget = budget
        self._loop = asyncio.get_running_loop()
        self._client: SendClient | None = None
        self._closed = False
        self._outstanding: deque[_Submitted] = deque()
        self._bytes = 0
        self._answered_at = clock.now()
        self._answers: deque[tuple[_Submitted, int, Failure | None]] = deque()
        self._scheduled = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._denied: dict[str, _Denied] = {}
        self._why = "the Kafka producer is being made"
        self._backoff = FIRST_BACKOFF
        self._made_at = clock.now()
        self._replacing: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Raises LogUnusable, or ClientFailed."""
        self._client = await asyncio.to_thread(self._engine.sender, self.landed)
        self._watching = asyncio.create_task(self._watch())

    @property
    def complaint(self) -> str:
        """What the client says about its connections; empty: nothing."""
        return "" if self._client is None else self._client.complaint

    async def know(self, topics: dict[str, Known]) -> None:
        """These may be written to from now on. What cannot be written to yet is refused by name."""
        self.topics.update(topics)
        if self._client is not None:
            await self._warm(self._client, [name for name in topics if name not in self._denied])

    def deny(self, topic: str) -> None:
        """It may not even be looked at: appends are refused, until one finds otherwise."""
        text = f"{topic}: not authorized (DESCRIBE, WRITE)"
        self._note(Failure(Trouble.DENIED, text, topic))

    async def _warm(self, client: SendClient, topics: list[str]) -> None:
        for failure in (await asyncio.to_thread(client.warm, topics, WARM_SECONDS)).values():
            self._note(failure)

    # --- submit

    def submit(self, partition: Partition, entry: Entry, done: Done) -> None:
        """As LogWriter.submit."""
        size = size_of(entry)
        client = self._client
        refusal = self._refusal(partition, entry, size)
        if refusal is not None or client is None:
            done(refusal or AppendRefused(self.trouble))
            return
        key, value, headers = entry
        # In a compact topic a record without headers and value stands for the absence of its key.
        tombstone = not value and not headers and self.topics[partition.topic].compact
        submitted = _Submitted(partition, done, size, self.clock.now())
        failure = client.send(
            partition,
            key,
            None if tombstone else value,
            headers,
            int(self.clock.wall() * 1000),
            submitted,
        )
        if failure is not None:  # it was not queued
            self._note(failure)
            if failure.trouble is Trouble.FATAL:
                self._replace(client, failure.text)
            done(_meaning(partition, failure._replace(trouble=_unsent(failure.trouble))))
            return
        if not self._outstanding:
            self._answered_at = submitted.at
            self._idle.clear()
        self._outstanding.append(submitted)
        self._bytes += size

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
        denied = self._denied.get(partition.topic) if self._denied else None
        if denied is not None and self.clock.now() < denied.until:
            return AppendRefused(denied.text)  # after that, one finds out
        if self._stalled:
            return AppendRefused(self.trouble)
        return None

    @property
    def _stalled(self) -> bool:
        return bool(self._outstanding) and self.clock.now() - self._answered_at > STALLED_SECONDS

    @property
    def trouble(self) -> str:
        """Why all appends are refused now; empty when they are not."""
        if self._client is None:
            return self._why
        return f"Kafka has not answered for {STALLED_SECONDS:g} s" if self._stalled else ""

    # --- answers

    def landed(self, submitted: _Submitted, offset: int, failure: Failure | None) -> None:
        """On any thread: a record is decided. The loop is woken once for all until it looks."""
        self._answers.append((submitted, offset, failure))
        if not self._scheduled:
            self._scheduled = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:  # the loop has ended, and with it whoever waited
                logger.debug("an answer came after the end of the loop")

    def _deliver(self) -> None:
        # Before looking: what is appended after the last look schedules another delivery.
        self._scheduled = False
        answers = self._answers
        self._answered_at = self.clock.now()
        fatal: Failure | None = None
        while answers:
            submitted, offset, failure = answers.popleft()
            if failure is None:
                if self._denied:
                    self._denied.pop(submitted.partition.topic, None)
                self._finish(
                    submitted,
                    Position(submitted.partition, offset)
                    if offset >= 0
                    else AppendUncertain(f"{submitted.partition}: stored, but not known where"),
                )
                continue
            self._note(failure)
            if failure.trouble is Trouble.FATAL:
                fatal = failure
            if failure.trouble is Trouble.TOO_LARGE and submitted.size < BATCH_BYTES:
                # A topic that takes less than a batch: the record alone may well be stored.
                failure = failure._replace(trouble=Trouble.INVALID)
            self._finish(submitted, _meaning(submitted.partition, failure))
        if self._client is not None and (dead := fatal or self._client.dead) is not None:
            self._replace(self._client, dead.text)
        self._forget()

    def _note(self, failure: Failure) -> None:
        """A topic that is denied or missing is that topic's matter."""
        if failure.trouble in (Trouble.DENIED, Trouble.MISSING) and failure.topic is not None:
            self.troubles.tell(failure)
            before = self._denied.get(failure.topic)
            now = self.clock.now()
            if before is not None and before.until > now:
                return  # told already
            lasts = FIRST_DENIED if before is None else min(2 * before.lasts, LONGEST_DENIED)
            self._denied[failure.topic] = _Denied(now + lasts, lasts, failure.text)

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

    # --- trust

    def _replace(self, client: SendClient, why: str) -> None:
        if client is not self._client or self._closed:
            return
        logger.warning("the Kafka producer is replaced: %s", why)
        self._client, self._why = None, f"the Kafka producer is being replaced: {why}"
        self.replaced += 1
        lasted = self.clock.now() - self._made_at
        self._backoff = FIRST_BACKOFF if lasted > LONGEST_BACKOFF * 2 else self._backoff
        self._replacing = asyncio.create_task(self._rebuild(client))

    async def _rebuild(self, old: SendClient) -> None:
        closing = asyncio.create_task(asyncio.to_thread(old.close, 0.5))
        if self.replaced > 1 and self._backoff > FIRST_BACKOFF:
            await self.clock.sleep(self._backoff)
        while not self._closed:
            try:
                client = await asyncio.to_thread(self._engine.sender, self.landed)
            except (ClientFailed, LogUnavailable, LogUnusable, RuntimeError, OSError) as error:
                self._why = f"no Kafka producer: {error}"
                logger.warning("%s", self._why)
            except Exception:
                logger.exception("making a Kafka producer met a bug")
            else:
                await self._warm(client, list(self.topics))
                self._client, self._made_at = client, self.clock.now()
                break
            self._backoff = min(self._backoff * 2, LONGEST_BACKOFF)
            await self.clock.sleep(self._backoff)
        self._backoff = min(self._backoff * 2, LONGEST_BACKOFF)
        await asyncio.wait([closing])
        if (failure := closing.exception()) is not None:
            logger.warning("the former Kafka producer did not close in order: %s", failure)

    async def _watch(self) -> None:
        while True:
            await self.clock.sleep(WATCH_SECONDS)
            self._give_up_the_overdue()

    def _give_up_the_overdue(self) -> None:
        if not self._outstanding:
            return
        overdue = self.clock.now() - OVERDUE_SECONDS
        late = [each for each in self._outstanding if each.done is not None and each.at < overdue]
        if not late:
            return
        if self._client is not None:
            self._replace(self._client, f"{len(late)} records are undecided after {OVERDUE_SECONDS:g} s")
        for submitted in late:
            answer = AppendUncertain(f"{submitted.partition}: no answer in {OVERDUE_SECONDS:g} s")
            self._finish(submitted, answer)
        self._forget()

    async def close(self, seconds: float = OVERDUE_SECONDS + 1) -> None:
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
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.close, seconds)

    def __repr__(self) -> str:
        state = "up" if self._client else "down"
        return f"<Outbox {state} {len(self._outstanding)} outstanding, {self._bytes} bytes>"


def _meaning(partition: Partition, failure: Failure) -> AppendRefused | AppendUncertain:
    said = f"{partition}: {failure.text}"
    if failure.trouble is Trouble.TOO_LARGE:
        return AppendTooLarge(said)
    return AppendRefused(said) if failure.trouble in _REFUSED else AppendUncertain(said)


def _unsent(trouble: Trouble) -> Trouble:
    return trouble if trouble in _REFUSED else Trouble.UNSENT


def size_of(entry: Entry) -> int:
    """Bytes of a record as Topic.max_bytes counts: key, value, headers."""
    size = len(entry.value) + (len(entry.key) if entry.key is not None else 0)
    for name, value in entry.headers:
        size += len(name) + len(value)
    return size
