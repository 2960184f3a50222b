"""This process in the consumer group: which partitions it owns, and the leases that follow from it.

One member for the readers of all services. Each reader has a *leading* topic (that of its requests), and the
group deals out the partitions of leading topics only. The other topics of the reader follow by number:
partition n of a topic goes with partition n modulo N of its leading topic, which has N. So the three topics
of a service with priorities, and `.requests` n and `.parked` n, always have one owner, with any assignor.

A lease begins when the group has assigned the leading partition and Kafka has told what was committed; it
ends when the group asks for the partition back (then its reader finishes and commits, and only its own
records wait for that) or says that it is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Protocol

from bufferproxy.clock import Clock, Timer
from bufferproxy.log.contract import Lease
from bufferproxy.log.kafka.asked import Asked, Commit
from bufferproxy.log.kafka.commits import Commits
from bufferproxy.log.kafka.engine import ClientFailed, Engine, Failure, GroupClient, Trouble
from bufferproxy.log.kafka.fetcher import Fetcher
from bufferproxy.log.kafka.poller import Poller
from bufferproxy.log.kafka.reader import KafkaReader
from bufferproxy.log.kafka.troubles import Troubles
from bufferproxy.records import Partition

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""That one poll of the group takes at most: the longest that a rebalance waits for it."""
JOIN_SECONDS = 60.0
"""That joining may take: a rebalance waits up to 45 s for a member that does not answer."""
LEASE_RETRY_SECONDS = 0.5
"""Until what was committed is asked for again."""
CERTAIN_SECONDS = 2.0
"""Until an end that is before a commit is asked for once more."""
SUBSCRIBE_DELAY = 0.02
"""Seconds within which readers that come or go share one change of the subscription."""
HAND_OVER_SHARE = 0.8
"""Of a session that a hand-over may take: below it, lest the group goes on without us."""


class Offsets(Protocol):
    async def committed(self, group: str, partitions: Collection[Partition]) -> Asked[Commit | None]:
        """What the group has committed in each."""
        ...

    async def ends(self, partitions: Collection[Partition]) -> Asked[int]: ...

    async def starts(self, partitions: Collection[Partition]) -> Asked[int]: ...

    def partitions(self, topic: str) -> int:
        """How many it has, as far as is known."""
        ...


class Membership:
    """Its methods belong to the loop, but for those of a Driver."""

    def __init__(
        self,
        group: str,
        engine: Engine,
        fetcher: Fetcher,
        offsets: Offsets,
        clock: Clock,
        left: Callable[[str], Awaitable[None]],
    ) -> None:
        """`left` is called when the group was left, to remove a member that the protocol keeps."""
        self.name = f"of group {group}"
        self.group = group
        self.troubles = Troubles(clock)
        self.down = ""
        """Why this process is no member now; empty while it is, or begins to be."""
        self.commits = Commits(self._send_commit)
        self._engine = engine
        self.fetcher = fetcher
        self._offsets = offsets
        self._clock = clock
        self._session = engine.session
        self._left = left
        self._loop = asyncio.get_running_loop()
        self._readers: dict[str, KafkaReader] = {}
        """By leading topic."""
        self._fresh: set[Partition] = set()
        """Assigned, and their leases have not begun."""
        self._doubtful: set[Partition] = set()
        """Of which it is not known yet whether Kafka holds what was committed."""
        self._beginning: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._epoch = 0
        self._subscribing: Timer | None = None
        self._life: _Life | None = None
        self.closed = False
        self._leave = False
        # Of the poller's thread.
        self._unjoined_since: float | None = None
        self._poller: Poller[GroupClient] = Poller(self, clock.now)

    # --- readers

    @property
    def readers(self) -> Sequence[KafkaReader]:
        return tuple(self._readers.values())

    def takes(self, topics: Sequence[str]) -> bool:
        """Whether a reader of these can share this member: nobody here reads any of them."""
        read = {topic for reader in self._readers.values() for topic in reader.topics}
        return not self.closed and read.isdisjoint(topics)

    def add(self, reader: KafkaReader) -> None:
        self._readers[reader.leading] = reader
        if not self._poller.is_alive():
            self._poller.start()
        self._subscribe_soon()

    async def remove(self, reader: KafkaReader) -> None:
        """It holds nothing from now on. With the last one this member leaves its group, at once."""
        if self._readers.get(reader.leading) is reader:
            del self._readers[reader.leading]
            mine = set(reader.topics)
            self._forget({p for p in reader.leases if p.topic in mine}, reader)
            self._fresh = {partition for partition in self._fresh if partition.topic not in mine}
        if self._readers:
            self._subscribe_soon()
        else:
            await self.close(leave=True)

    async def close(self, *, leave: bool) -> None:
        if self.closed:
            return
        self.closed = True
        self._leave = leave
        if self._subscribing is not None:
            self._subscribing.cancel()
        for task in (*self._tasks, *(() if self._beginning is None else (self._beginning,))):
            task.cancel()
        if leave:
            await self.commits.quiet()
        started = self._poller.is_alive()
        await self._poller.ended()
        if started and leave:
            await self._left(self.group)

    def _subscribe_soon(self) -> None:
        if self._subscribing is None and not self.closed:
            self._subscribing = self._clock.call_later(SUBSCRIBE_DELAY, self._subscribe)

    def _subscribe(self) -> None:
        self._subscribing = None
        topics = sorted(self._readers)
        self._poller.tell(lambda client: client.subscribe(topics))

    def _spread(self, leading: Iterable[Partition]) -> dict[KafkaReader, set[Partition]]:
        """What comes and goes with these leading partitions, by reader."""
        found: dict[KafkaReader, set[Partition]] = {}
        for topic, numbers in _by_topic(leading).items():
            reader = self._readers.get(topic)
            if reader is not None:
                size = self._offsets.partitions(topic)
                found[reader] = {
                    Partition(each, number)
                    for each in reader.topics
                    for number in range(self._offsets.partitions(each))
                    if number % size in numbers
                }
        return found

    # --- leases begin

    def assigned(self, life: _Life, leading: Collection[Partition]) -> None:
        if life is not self._life or self.closed:
            return
        self.down = ""
        for partitions in self._spread(leading).values():
            self._fresh |= partitions
        if self._beginning is None or self._beginning.done():
            self._beginning = asyncio.ensure_future(self._begin_leases())

    async def _begin_leases(self) -> None:
        while self._fresh:
            asked = await self._offsets.committed(self.group, set(self._fresh))
            found = {p: commit for p, commit in asked.found.items() if p in self._fresh}
            self._fresh.difference_update(found)
            self._doubtful.update(found)
            self._grant(found)
            self._spawn(self._look_for_losses(found))
            for failure in asked.failures:
                self.troubles.tell(failure)
            if self._fresh:
                await self._clock.sleep(LEASE_RETRY_SECONDS)

    def _grant(self, found: Mapping[Partition, Commit | None]) -> None:
        for reader in self.readers:
            leases = {
                partition: self._lease(found[partition]) for partition in found if reader.reads(partition)
            }
            if leases:
                self.commits.begin(leases)
                reader.begin(leases)

    def _lease(self, commit: Commit | None) -> Lease:
        at = Commit(0, "") if commit is None else commit
        return Lease(self._next_epoch(), at.offset, at.marks)

    def _next_epoch(self) -> int:
        """Higher than any before it on this host, also over restarts."""
        self._epoch = max(self._epoch + 1, int(self._clock.wall() * 1e6))
        return self._epoch

    async def _look_for_losses(self, begun: Mapping[Partition, Commit | None]) -> None:
        await self._find_lost({p: commit.offset for p, commit in begun.items() if commit is not None})
        self._doubtful.difference_update(begun)

    def settled(self) -> Mapping[Partition, int]:
        """Of each lease, the offset below which all is settled."""
        return {p: offset for p, offset in self.commits.done().items() if p not in self._doubtful}

    async def _find_lost(self, begun: Mapping[Partition, int]) -> None:
        """What begins after the end of its partition waits for records that Kafka has lost. A broker that has
        just become leader may not know yet how far the partition goes, so it is asked twice."""
        for delay in (0.0, CERTAIN_SECONDS):
            if not begun:
                return
            await self._clock.sleep(delay)
            while not (ends := (await self._offsets.ends(begun.keys())).found):
                await self._clock.sleep(CERTAIN_SECONDS)
            begun = {p: offset for p, offset in begun.items() if p in ends and offset > ends[p]}
        starts = (await self._offsets.starts(begun.keys())).found if begun else {}
        for partition, start in starts.items():
            logger.error(
                "%s %d: %s has committed %d, and Kafka does not hold as many records: it has lost what it "
                "had acknowledged. What it holds is read from its start, also what may be settled already",
                partition.topic,
                partition.number,
                self.group,
                begun[partition],
            )
            self.restart(partition, start)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def restart(self, partition: Partition, offset: int) -> None:
        """Kafka has lost what lay at its commit: it is read from `offset` on, under a new lease."""
        for reader in self.readers:
            if partition in reader.leases:
                self._forget({partition}, reader)
                reader.listener.lost({partition})
                lease = Lease(self._next_epoch(), offset)
                self.commits.begin({partition: lease})
                reader.begin({partition: lease})

    # --- leases end

    def revoked(self, life: _Life, leading: Collection[Partition]) -> None:
        self._spawn(self._hand_over(life, self._spread(leading)))

    async def _hand_over(self, life: _Life, leaving: Mapping[KafkaReader, set[Partition]]) -> None:
        try:
            # Below the session, within which a member must not be silent; heartbeats go on meanwhile.
            async with asyncio.timeout(self._session * HAND_OVER_SHARE):
                await asyncio.gather(*[reader.revoke(its) for reader, its in leaving.items()])
                await self.commits.quiet()
        except TimeoutError:
            logger.warning("%s: partitions are given away unsettled: not let go in time", self.group)
            for reader, its in leaving.items():
                reader.lose(its)
        finally:
            for reader, its in leaving.items():
                self._fresh -= its
                self._forget(its, reader)
            life.release()

    def lost(self, life: _Life, leading: Collection[Partition]) -> None:
        if life is self._life:
            for reader, its in self._spread(leading).items():
                self._fresh -= its
                reader.lose(its)
                self._forget(its, reader)

    def _lose_all(self, failure: Failure) -> None:
        self._life = None
        self.down = f"the Kafka client {self.name} is replaced: {failure.text}"
        self._fresh.clear()
        for reader in self.readers:
            its = set(reader.leases)
            reader.lose(its)
            self._forget(its, reader)

    def _forget(self, partitions: set[Partition], reader: KafkaReader) -> None:
        self.commits.forget(partitions)
        reader.forget(partitions)

    # --- commits

    def _send_commit(
        self, commits: Mapping[Partition, tuple[int, str]], done: Callable[[Failure | None], None]
    ) -> None:
        life = self._life
        if life is None:
            done(Failure(Trouble.PASSING, f"{self.group}: joining"))
            return

        def decided(failure: Failure | None) -> None:
            self.post(done, failure)

        life.client.commit(commits, decided)

    # --- on the poller's thread

    def make(self) -> GroupClient:
        life = _Life(self)
        life.client = client = self._engine.member(self.group, life)
        self._unjoined_since = self._clock.now()
        client.subscribe(sorted(self._readers))
        self.post(self._begin_life, life)
        return client

    def _begin_life(self, life: _Life) -> None:
        self._life = life
        self.down = ""

    def turn(self, client: GroupClient) -> float:
        failures = client.poll(POLL_SECONDS)
        if failures:
            self.post(self._tell, failures)
        self._look_at_join(client)
        return 0.0

    def _tell(self, failures: Sequence[Failure]) -> None:
        for failure in failures:
            self.troubles.tell(failure)
            if failure.topic is None and failure.trouble in (Trouble.DENIED, Trouble.AUTHENTICATION):
                self.down = failure.text

    def _look_at_join(self, client: GroupClient) -> None:
        now = self._clock.now()
        if client.joined:
            self._unjoined_since = None
        elif self._unjoined_since is None:
            self._unjoined_since = now
        elif now - self._unjoined_since > JOIN_SECONDS:
            text = f"{self.group}: not joined in {JOIN_SECONDS:g} s"
            raise ClientFailed(Failure(Trouble.FATAL, text))

    def failed(self, failure: Failure) -> None:
        self.post(self._lose_all, failure)

    def discard(self, client: GroupClient) -> None:
        client.close(leave=self._leave)

    def post(self, call: Callable[..., object], *arguments: object) -> None:
        """Calls it on the loop."""
        self._poller.post(self._loop, call, *arguments)

    def __repr__(self) -> str:
        held = sum(len(reader.leases) for reader in self._readers.values())
        return f"<Membership {self.group} {len(self._readers)} readers, {held} leases>"


class _Life:
    """One GroupClient: what it tells goes to the loop, with the client that it came from."""

    client: GroupClient

    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    def assigned(self, partitions: Collection[Partition]) -> None:
        self._membership.post(self._membership.assigned, self, partitions)

    def revoked(self, partitions: Collection[Partition]) -> None:
        self._membership.post(self._membership.revoked, self, partitions)

    def lost(self, partitions: Collection[Partition]) -> None:
        self._membership.post(self._membership.lost, self, partitions)

    def release(self) -> None:
        self.client.release()


def _by_topic(partitions: Iterable[Partition]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for partition in partitions:
        found.setdefault(partition.topic, set()).add(partition.number)
    return found
