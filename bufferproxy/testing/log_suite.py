"""What `log/contract.py` promises, as tests. Every backend runs all of them:

    class TestMemoryLog(LogSuite):
        @pytest.fixture
        def backend(self) -> Backend:
            return ...

The numbers in the classes' docstrings are those of the contract.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import TYPE_CHECKING

import pytest

from bufferproxy.errors import AppendRefused, AppendTooLarge, LogUnusable
from bufferproxy.log.contract import Appended, Keep, Topic
from bufferproxy.log.marks import Marks, encode
from bufferproxy.records import Entry, Headers, Partition, Position, Record
from bufferproxy.testing.log_world import PATIENCE, Backend, World, gather, numbered, values

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection


class _Suite:
    @pytest.fixture
    async def world(self, backend: Backend) -> AsyncIterator[World]:
        async with World.around(backend) as world:
            yield world


class Appending(_Suite):
    """Clauses 1, 2, 6 and 7: what is acknowledged is stored, as it was given, where it is said to be."""

    async def test_an_append_says_where_the_record_lies(self, world: World) -> None:
        partition = await world.partition()
        (position,) = await world.append(partition, b"body")
        assert position.partition == partition
        (record,) = await world.log.read(position, 10)
        assert record.position == position
        assert record.value == b"body"

    @pytest.mark.parametrize("key", [None, b"", b"key", bytes(range(256))])
    @pytest.mark.parametrize("value", [b"", b"\r\n\x00", bytes(range(256)) * 4096], ids=len)
    async def test_a_record_comes_back_byte_for_byte(
        self, world: World, key: bytes | None, value: bytes
    ) -> None:
        headers: Headers = (
            ("bufferproxy-version", b"1"),
            ("empty", b""),
            ("twice", b"second comes second"),
            ("twice", bytes(range(256))),
            ("Case", b"kept"),
            ("", b"nameless"),
            ("größe", "größe".encode()),
        )
        partition = await world.partition()
        (position,) = await world.append(partition, value, key=key, headers=headers)
        member = await world.join(partition.topic)
        (fetched,) = await member.take(1)
        (read,) = await world.log.read(position, 1)
        assert fetched == read
        assert (fetched.key, fetched.value, fetched.headers) == (key, value, headers)

    async def test_a_record_says_when_it_was_appended(self, world: World) -> None:
        partition = await world.partition()
        first, second = await world.append(partition, b"1", b"2")
        (one,) = await world.log.read(first, 1)
        (two,) = await world.log.read(second, 1)
        assert 0 < one.appended_at <= two.appended_at

    async def test_a_burst_keeps_its_order_in_each_partition(self, world: World) -> None:
        topic = await world.topic(partitions=3)
        partitions = [Partition(topic, number) for number in range(3)]
        decided: list[Appended] = []
        finished = asyncio.Event()

        def done(result: Appended) -> None:
            decided.append(result)
            if len(decided) == 1500:
                finished.set()

        for value in numbered(500):
            for partition in partitions:
                world.log.submit(partition, Entry(None, value, ()), done)
        async with asyncio.timeout(PATIENCE):
            await finished.wait()
        assert all(isinstance(result, Position) for result in decided)
        for partition in partitions:
            records = await world.read_all(partition)
            assert values(records) == numbered(500)
            offsets = [record.offset for record in records]
            assert all(earlier < later for earlier, later in itertools.pairwise(offsets))

    async def test_the_answer_comes_once_and_on_the_loop(self, world: World) -> None:
        partition = await world.partition()
        threads: list[int] = []

        def done(_: Appended) -> None:
            asyncio.get_running_loop()  # raises anywhere else
            threads.append(threading.get_ident())

        for value in numbered(200):
            world.log.submit(partition, Entry(None, value, ()), done)
        await world.append(partition, b"last")
        assert threads == [threading.get_ident()] * 200

    async def test_what_was_acknowledged_survives_a_crash(self, world: World) -> None:
        partition = await world.partition()
        positions = await world.append(partition, *numbered(100))
        await world.crash()
        records = await world.read_all(partition)
        assert [record.position for record in records] == positions
        assert values(records) == numbered(100)

    async def test_offsets_go_on_rising_after_a_crash(self, world: World) -> None:
        partition = await world.partition()
        (before,) = await world.append(partition, b"before")
        await world.crash()
        (after,) = await world.append(partition, b"after")
        assert after.offset > before.offset

    async def test_a_record_beyond_the_topics_limit_is_refused_and_the_next_is_stored(
        self, world: World
    ) -> None:
        partition = await world.partition(max_bytes=50_000)
        with pytest.raises(AppendTooLarge):
            await world.append(partition, bytes(200_000))
        await world.append(partition, b"small")
        assert values(await world.read_all(partition)) == [b"small"]

    async def test_copies_of_what_was_accepted_under_a_larger_limit_are_stored(self, world: World) -> None:
        name = await world.topic(max_bytes=200_000)
        await world.log.ensure([Topic(name, 1, Keep(), 50_000, copies=True)], create=False)
        await world.append(Partition(name, 0), bytes(150_000))

    async def test_an_append_to_a_partition_that_does_not_exist_is_refused(self, world: World) -> None:
        topic = await world.topic(partitions=1)
        with pytest.raises(AppendRefused):
            await world.append(Partition(topic, 1), b"nowhere")

    async def test_a_cancelled_append_is_stored_once_or_not_at_all(self, world: World) -> None:
        partition = await world.partition()
        appends = [
            asyncio.ensure_future(world.log.append(partition, Entry(None, value, ())))
            for value in numbered(50)
        ]
        await asyncio.sleep(0)  # every append has been submitted, none is decided
        for append in appends[::2]:
            append.cancel()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*appends, return_exceptions=True)
        await world.append(partition, b"last")
        stored = values(await world.read_all(partition))
        assert stored == sorted(set(stored)), "in order, none twice"
        assert set(stored) >= {*numbered(50)[1::2], b"last"}

    async def test_a_close_decides_what_was_submitted(self, backend: Backend) -> None:
        decided: list[Appended] = []
        async with World.around(backend) as world:
            partition = await world.partition()
            for value in numbered(300):
                world.log.submit(partition, Entry(None, value, ()), decided.append)
        assert [type(result) for result in decided] == [Position] * 300


class Topics(_Suite):
    async def test_a_topic_has_the_partitions_it_was_made_with(self, world: World) -> None:
        topic = await world.topic(partitions=5)
        assert world.log.partitions(topic) == 5

    async def test_an_existing_topic_is_left_as_it_is(self, world: World) -> None:
        partition = await world.partition()
        await world.append(partition, b"kept")
        await world.log.ensure([Topic(partition.topic, 1, Keep())], create=True)
        await world.log.ensure([Topic(partition.topic, 1, Keep())], create=False)
        assert values(await world.read_all(partition)) == [b"kept"]

    async def test_a_topic_survives_a_crash(self, world: World) -> None:
        topic = await world.topic(partitions=3)
        await world.crash()
        await world.log.ensure([Topic(topic, 3, Keep())], create=False)
        assert world.log.partitions(topic) == 3

    async def test_a_missing_topic_is_reported_when_it_may_not_be_made(self, world: World) -> None:
        topic = Topic(f"{await world.topic()}-missing", 1, Keep())
        with pytest.raises(LogUnusable, match="topics create"):
            await world.log.ensure([topic], create=False)


class Reading(_Suite):
    """Clauses 3, 5 and 6: in order, again after a crash, and nothing lost by a cancellation."""

    async def test_a_new_group_reads_from_the_first_record_on(self, world: World) -> None:
        partition = await world.partition()
        await world.append(partition, *numbered(1200))
        member = await world.join(partition.topic)
        records = await member.take(1200)
        assert values(records) == numbered(1200)

    async def test_several_topics_and_partitions_are_read_together(self, world: World) -> None:
        topics = [await world.topic(partitions=2) for _ in range(2)]
        partitions = [Partition(topic, number) for topic in topics for number in range(2)]
        for partition in partitions:
            await world.append(partition, *numbered(20, f"{partition}"))
        member = await world.join(*topics)
        records = await member.take(80)
        for partition in partitions:
            mine = [record for record in records if record.partition == partition]
            assert values(mine) == numbered(20, f"{partition}")

    async def test_a_fetch_waits_for_the_next_record(self, world: World) -> None:
        partition = await world.partition()
        member = await world.join(partition.topic)
        await member.holds(1)
        waiting = asyncio.ensure_future(member.take(1))
        await world.log.ping()
        assert not waiting.done()
        await world.append(partition, b"at last")
        assert values(await waiting) == [b"at last"]

    async def test_a_fetch_is_of_bounded_length(self, world: World) -> None:
        partition = await world.partition()
        await world.append(partition, *numbered(3000))
        member = await world.join(partition.topic)
        received = 0
        while received < 3000:
            async with asyncio.timeout(PATIENCE):
                records = await member.reader.fetch()
            assert 1 <= len(records) <= 1000
            received += len(records)

    async def test_a_cancelled_fetch_loses_nothing(self, world: World) -> None:
        partition = await world.partition()
        member = await world.join(partition.topic)
        await member.holds(1)
        received: list[bytes] = []
        for value in numbered(60):
            fetch = asyncio.ensure_future(member.reader.fetch())
            await world.append(partition, value)  # the fetch may be anywhere between asleep and done
            fetch.cancel()
            try:
                received.extend(values(await fetch))
            except asyncio.CancelledError:
                continue
        if len(received) < 60:
            received.extend(values(await member.take(60 - len(received))))
        assert received == numbered(60)

    async def test_a_paused_partition_stays_silent_until_it_is_resumed(self, world: World) -> None:
        topic = await world.topic(partitions=2)
        paused, other = Partition(topic, 0), Partition(topic, 1)
        member = await world.join(topic)
        await member.holds(2)
        member.reader.pause(paused)
        await world.append(paused, *numbered(5))
        for value in numbered(5, "other"):
            await world.append(other, value)
            assert values(await member.take(1)) == [value]
        member.reader.resume(paused)
        assert values(await member.take(5)) == numbered(5)

    async def test_a_resume_wakes_a_waiting_fetch(self, world: World) -> None:
        partition = await world.partition()
        member = await world.join(partition.topic)
        await member.holds(1)
        member.reader.pause(partition)
        await world.append(partition, b"there")
        fetch = asyncio.ensure_future(member.take(1))
        await world.log.ping()
        member.reader.resume(partition)
        assert values(await fetch) == [b"there"]

    async def test_after_a_crash_everything_past_the_commit_comes_again_in_order(self, world: World) -> None:
        partition = await world.partition()
        await world.append(partition, *numbered(30))
        records = await (member := await world.join(partition.topic)).take(30)
        assert not await member.commit(records[9])
        await world.crash()
        again = await (await world.join(partition.topic)).take(20)
        assert values(again) == numbered(30)[10:]
        assert [record.position for record in again] == [record.position for record in records[10:]]

    async def test_without_a_commit_everything_comes_again(self, world: World) -> None:
        partition = await world.partition()
        await world.append(partition, *numbered(10))
        await (await world.join(partition.topic)).take(10)
        await world.crash()
        assert values(await (await world.join(partition.topic)).take(10)) == numbered(10)

    async def test_groups_know_nothing_of_each_other(self, world: World) -> None:
        partition = await world.partition()
        await world.append(partition, *numbered(4))
        one = await world.join(partition.topic)
        await one.commit((await one.take(4))[-1])
        other = await world.join(partition.topic, group=f"{world.group}-other")
        assert values(await other.take(4)) == numbered(4)


class Leasing(_Suite):
    """Clause 4: one holder, an epoch, and no commit under a lost lease."""

    async def test_a_reader_is_granted_every_partition_at_its_committed_offset(self, world: World) -> None:
        topic = await world.topic(partitions=3)
        await world.append(Partition(topic, 1), *numbered(5))
        first = await world.join(topic)
        records = await first.take(5)
        await first.commit(records[2])
        next_offset = first.reader.after(records[2])
        await world.leave(first)
        second = await world.join(topic)
        await second.holds(3)
        assert set(second.holding.leases) == {Partition(topic, number) for number in range(3)}
        assert second.holding.leases[Partition(topic, 1)].committed == next_offset

    async def test_a_commit_under_a_lost_lease_changes_nothing_and_says_so(self, world: World) -> None:
        topic = await world.topic(partitions=2)
        lost, held = Partition(topic, 0), Partition(topic, 1)
        await world.append(lost, *numbered(3))
        await world.append(held, *numbered(3))
        member = await world.join(topic)
        last = {record.partition: record for record in await member.take(6)}
        before = await world.lag(lost)
        refused = await member.reader.commit(
            {
                lost: (member.holding.leases[lost].epoch - 1, member.reader.after(last[lost])),
                held: (member.holding.leases[held].epoch, member.reader.after(last[held])),
            }
        )
        assert set(refused) == {lost}
        assert (await world.lag(lost)).committed == before.committed
        assert (await world.lag(held)).committed == member.reader.after(last[held])

    async def test_a_committed_offset_never_goes_back(self, world: World) -> None:
        partition = await world.partition()
        await world.append(partition, *numbered(10))
        member = await world.join(partition.topic)
        records = await member.take(10)
        await member.commit(records[7])
        assert not await member.commit(records[2])
        assert (await world.lag(partition)).committed == member.reader.after(records[7])

    async def test_marks_go_with_their_commit_to_the_next_holder(self, world: World) -> None:
        partition = await world.partition()
        await world.append(partition, *numbered(10))
        member = await world.join(partition.topic)
        records = await member.take(10)
        assert member.holding.leases[partition].marks == ""

        async def commit(record: Record, marks: str) -> None:
            offset = (member.holding.leases[partition].epoch, member.reader.after(record))
            assert not await member.reader.commit({partition: offset}, {partition: marks})

        await commit(records[4], "1;first")
        await commit(records[4], "1;" + "x" * 3000)
        await commit(records[2], "1;behind")
        await world.leave(member)
        next_ = await world.join(partition.topic)
        await next_.holds(1)
        lease = next_.holding.leases[partition]
        assert (lease.committed, lease.marks) == (member.reader.after(records[4]), "1;" + "x" * 3000)
        epoch, offset = lease.epoch, next_.reader.after(records[6])
        marks = encode(Marks(1, 0, ((offset + 1, offset + 3),)), offset)
        assert not await next_.reader.commit({partition: (epoch, offset)}, {partition: marks})
        assert (await world.lag(partition)).records == 1
        await next_.commit(records[9])
        await world.leave(next_)
        last = await world.join(partition.topic)
        await last.holds(1)
        assert last.holding.leases[partition].marks == ""

    async def test_commits_that_overtake_each_other_leave_the_highest(self, world: World) -> None:
        partition = await world.partition()
        await world.append(partition, *numbered(40))
        member = await world.join(partition.topic)
        records = await member.take(40)
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*[member.commit(record) for record in [*records[::2], records[5]]])
        assert (await world.lag(partition)).committed == member.reader.after(records[38])

    async def test_epochs_rise_with_every_grant_and_over_a_crash(self, world: World) -> None:
        partition = await world.partition()
        epochs = []
        for end in (world.leave, None, world.leave):
            member = await world.join(partition.topic)
            await member.holds(1)
            epochs.append(member.holding.leases[partition].epoch)
            await (end(member) if end else world.crash())
        assert epochs == sorted(set(epochs))

    async def test_a_leaving_reader_is_told_nothing(self, world: World) -> None:
        member = await world.join(await world.topic())
        await member.holds(1)
        await world.leave(member)
        assert member.holding.calls == ["granted"]


class Sharing(_Suite):
    """Clause 4 with several readers of one group."""

    @pytest.fixture(autouse=True)
    def _several(self, backend: Backend) -> None:
        if not backend.several_readers:
            pytest.skip("this backend has one reader a group")

    async def test_two_readers_share_the_partitions(self, world: World) -> None:
        topic = await world.topic(partitions=4)
        one = await world.join(topic)
        await one.holds(4)
        other = await world.join(topic)
        await asyncio.gather(one.holds(2), other.holds(2))
        assert not set(one.holding.leases) & set(other.holding.leases)

    async def test_partitions_of_one_number_have_one_holder(self, world: World) -> None:
        topics = [await world.topic(partitions=4) for _ in range(2)]
        one = await world.join(*topics)
        await one.holds(8)
        other = await world.join(*topics)
        await asyncio.gather(one.holds(4), other.holds(4))
        for member in (one, other):
            numbers = [
                sorted(p.number for p in member.holding.leases if p.topic == topic) for topic in topics
            ]
            assert numbers[0] == numbers[1]

    async def test_a_hand_over_waits_for_the_commit_and_goes_on_from_there(self, world: World) -> None:
        topic = await world.topic(partitions=2)
        for number in range(2):
            await world.append(Partition(topic, number), *numbered(10))
        one = await world.join(topic)
        taken = await one.take(20)
        settled = {record.partition: record for record in taken if record.value <= b"00003"}

        async def commit(partitions: Collection[Partition]) -> None:
            assert not await one.commit(*[settled[partition] for partition in partitions])

        one.holding.on_revoking = commit
        other = await world.join(topic)
        await other.holds(1)
        records = await other.take(6)
        assert values(records) == numbered(10)[4:]
        assert {record.partition for record in records} == set(other.holding.leases)

    async def test_what_was_handed_over_cannot_be_committed_by_its_former_holder(self, world: World) -> None:
        topic = await world.topic(partitions=2)
        for number in range(2):
            await world.append(Partition(topic, number), *numbered(3))
        one = await world.join(topic)
        last = {record.partition: record for record in await one.take(6)}
        former = dict(one.holding.leases)
        other = await world.join(topic)
        await asyncio.gather(one.holds(1), other.holds(1))
        (moved,) = other.holding.leases
        refused = await one.reader.commit({moved: (former[moved].epoch, one.reader.after(last[moved]))})
        assert set(refused) == {moved}
        assert (await world.lag(moved)).committed == other.holding.leases[moved].committed

    async def test_each_record_appended_after_a_hand_over_goes_to_one_reader(self, world: World) -> None:
        topic = await world.topic(partitions=2)
        one = await world.join(topic)
        await one.holds(2)
        other = await world.join(topic)
        await asyncio.gather(one.holds(1), other.holds(1))
        for number in range(2):
            await world.append(Partition(topic, number), *numbered(20, f"{number}-"))
        for member in (one, other):
            (mine,) = member.holding.leases
            assert values(await member.take(20)) == numbered(20, f"{mine.number}-")

    async def test_a_leaving_reader_makes_room_at_once(self, world: World) -> None:
        topic = await world.topic(partitions=2)
        one = await world.join(topic)
        other = await world.join(topic)
        await asyncio.gather(one.holds(1), other.holds(1))
        await world.leave(one)
        await other.holds(2)
        for number in range(2):
            await world.append(Partition(topic, number), b"to who stayed")
        assert len(await other.take(2)) == 2


class Tailing(_Suite):
    async def test_a_tail_reads_from_its_offsets_on(self, world: World) -> None:
        topic = await world.topic(partitions=2)
        one, two = Partition(topic, 0), Partition(topic, 1)
        positions = await world.append(one, *numbered(5, "one"))
        await world.append(two, *numbered(2, "two"))
        tail = await world.log.tail({one: positions[3].offset, two: 0})
        records = await gather(tail, 4)
        assert values([r for r in records if r.partition == one]) == numbered(5, "one")[3:]
        assert values([r for r in records if r.partition == two]) == numbered(2, "two")
        await tail.close()

    async def test_a_tail_goes_on_with_what_is_appended(self, world: World) -> None:
        partition = await world.partition()
        tail = await world.log.tail({partition: 0})
        for value in numbered(20):
            waiting = asyncio.ensure_future(gather(tail, 1))
            await world.append(partition, value)
            assert values(await waiting) == [value]
        await tail.close()

    async def test_a_cancelled_fetch_of_a_tail_loses_nothing(self, world: World) -> None:
        partition = await world.partition()
        tail = await world.log.tail({partition: 0})
        fetch = asyncio.ensure_future(tail.fetch())
        await world.log.ping()
        fetch.cancel()
        await world.append(partition, *numbered(3))
        with pytest.raises(asyncio.CancelledError):
            await fetch
        assert values(await gather(tail, 3)) == numbered(3)
        await tail.close()

    async def test_a_tail_leaves_groups_alone(self, world: World) -> None:
        partition = await world.partition()
        await world.append(partition, *numbered(3))
        member = await world.join(partition.topic)
        tail = await world.log.tail({partition: 0})
        assert values(await gather(tail, 3)) == values(await member.take(3)) == numbered(3)
        await tail.close()
        assert member.holding.calls == ["granted"]


class Inspecting(_Suite):
    async def test_the_lag_of_a_new_group_is_everything(self, world: World) -> None:
        partition = await world.partition()
        await world.append(partition, b"1", b"22", b"333")
        lag = await world.lag(partition)
        assert lag.start <= lag.committed < lag.end
        assert lag.records == 3
        assert lag.size == 6 if world.backend.exact_lag else lag.size >= 0

    async def test_a_commit_takes_what_is_settled_off_the_lag(self, world: World) -> None:
        partition = await world.partition()
        await world.append(partition, b"1", b"22", b"333", b"4444")
        member = await world.join(partition.topic)
        records = await member.take(4)
        await member.commit(records[1])
        for _ in range(2):
            lag = await world.lag(partition)
            assert (lag.committed, lag.records) == (member.reader.after(records[1]), 2)
            assert lag.size == 7 if world.backend.exact_lag else lag.size >= 0
            await world.crash()

    async def test_with_everything_settled_there_is_no_lag(self, world: World) -> None:
        partition = await world.partition()
        await world.append(partition, *numbered(3))
        member = await world.join(partition.topic)
        await member.commit((await member.take(3))[-1])
        lag = await world.lag(partition)
        assert lag.committed == lag.end
        assert (lag.records, lag.size) == (0, 0)

    async def test_the_lag_tells_of_every_partition_and_leaves_out_unknown_topics(self, world: World) -> None:
        topic = await world.topic(partitions=3)
        lags = await world.log.lag(world.group, [topic, f"{topic}-unknown"])
        assert set(lags) == {Partition(topic, number) for number in range(3)}
        assert all((lag.records, lag.size) == (0, 0) for lag in lags.values())

    async def test_a_read_begins_at_its_offset_and_ends_at_its_limit(self, world: World) -> None:
        partition = await world.partition()
        positions = await world.append(partition, *numbered(10))
        assert values(await world.log.read(positions[4], 3)) == numbered(10)[4:7]

    async def test_a_read_past_the_end_is_empty(self, world: World) -> None:
        partition = await world.partition()
        assert list(await world.log.read(Position(partition, 0), 5)) == []
        (position,) = await world.append(partition, b"only")
        assert list(await world.log.read(Position(partition, position.offset + 1), 5)) == []
        assert list(await world.log.read(Position(partition, position.offset + 1000), 5)) == []

    async def test_what_was_appended_before_a_commit_lies_below_the_ends_told_with_it(
        self, world: World
    ) -> None:
        requests, results = await world.partition(), await world.partition()
        member = await world.join(requests.topic)

        async def settle() -> None:
            for number in range(20):
                await world.append(requests, b"%d" % number)
                (record,) = await member.take(1)
                await world.append(results, record.value)
                await member.commit(record)

        settling = asyncio.create_task(settle())
        while not settling.done():
            lags = await world.log.lag(world.group, [requests.topic, results.topic])
            settled = lags[requests].committed - lags[requests].start
            assert settled <= lags[results].end - lags[results].start
            await asyncio.sleep(0)  # a log in memory answers without a pause
        await settling

    async def test_a_ping_is_answered(self, world: World) -> None:
        async with asyncio.timeout(PATIENCE):
            await world.log.ping()

    async def test_a_ping_waits_behind_no_read_and_no_lag(self, world: World) -> None:
        partition = await world.partition()
        (position,) = await world.append(partition, b"body")
        busy = [
            asyncio.ensure_future(asking)
            for _ in range(100)
            for asking in (world.log.read(position, 1), world.log.lag(world.group, [partition.topic]))
        ]
        await asyncio.sleep(0)  # all have begun
        await world.log.ping()
        await asyncio.gather(*busy, return_exceptions=True)


class Trimming(_Suite):
    """What `Topic.keep` says."""

    async def test_settled_records_go_and_open_ones_stay(self, world: World) -> None:
        partition = await world.partition(keep=Keep(committed_by=world.group))
        positions = await world.append(partition, *numbered(20))
        member = await world.join(partition.topic)
        records = await member.take(20)
        await member.commit(records[14])
        await world.trim()
        lag = await world.lag(partition)
        assert lag.start == lag.committed == positions[15].offset, (lag, positions[15])
        assert lag.records == 5
        assert values(await world.log.read(positions[0], 100)) == numbered(20)[15:]

    async def test_a_commit_of_another_group_lets_nothing_go(self, world: World) -> None:
        partition = await world.partition(keep=Keep(committed_by=world.group))
        await world.append(partition, *numbered(5))
        other = await world.join(partition.topic, group=f"{world.group}-other")
        await other.commit((await other.take(5))[-1])
        await world.trim()
        assert values(await world.read_all(partition)) == numbered(5)

    async def test_after_a_trim_of_everything_offsets_and_lag_go_on(self, world: World) -> None:
        partition = await world.partition(keep=Keep(committed_by=world.group))
        await world.append(partition, *numbered(5))
        member = await world.join(partition.topic)
        records = await member.take(5)
        await member.commit(records[-1])
        await world.trim()
        await world.crash()
        (position,) = await world.append(partition, b"later")
        assert position.offset >= member.reader.after(records[-1])
        lag = await world.lag(partition)
        assert lag.records == 1
        again = await world.join(partition.topic)
        assert values(await again.take(1)) == [b"later"]

    async def test_a_tail_from_a_trimmed_offset_begins_with_the_first_kept_record(self, world: World) -> None:
        partition = await world.partition(keep=Keep(committed_by=world.group))
        await world.append(partition, *numbered(5))
        member = await world.join(partition.topic)
        await member.commit((await member.take(5))[2])
        await world.trim()
        tail = await world.log.tail({partition: 0})
        assert values(await gather(tail, 2)) == numbered(5)[3:]
        await tail.close()

    async def test_a_compact_topic_keeps_the_newest_record_of_each_key(self, world: World) -> None:
        if not world.backend.compacts:
            pytest.skip("this backend cannot be made to compact now")
        partition = await world.partition(keep=Keep(compact=True))
        for value in (b"1", b"2", b"3"):
            for key in (b"a", b"b", b""):
                await world.append(partition, value, key=key)
        await world.append(partition, b"alone", key=b"c")
        await world.trim()
        kept = [(record.key, record.value) for record in await world.read_all(partition)]
        assert kept == [(b"a", b"3"), (b"b", b"3"), (b"", b"3"), (b"c", b"alone")]

    async def test_a_topic_without_a_rule_keeps_everything(self, world: World) -> None:
        partition = await world.partition()
        await world.append(partition, *numbered(5), key=b"same")
        member = await world.join(partition.topic)
        await member.commit((await member.take(5))[-1])
        await world.trim()
        assert values(await world.read_all(partition)) == numbered(5)


class LogSuite(Appending, Topics, Reading, Leasing, Sharing, Tailing, Inspecting, Trimming):
    """All of it. A backend's test class inherits this and brings the fixture `backend`."""
