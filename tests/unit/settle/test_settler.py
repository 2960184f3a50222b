from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bufferproxy.envelope import change_of, letter_of, request_of
from bufferproxy.errors import AppendRefused, AppendTooLarge, AppendUncertain
from bufferproxy.ids import DELAYED, Identity, id_of
from bufferproxy.log.contract import LogWriter
from bufferproxy.log.topics import ServiceTopics, topics_of
from bufferproxy.observe.events import DeadLettered, Finished, Quarantined, RetryScheduled, Unsettled
from bufferproxy.records import Change, Entry, Letter, Mark, Partition, Position, Record, Request, State
from bufferproxy.settle.disposition import Ack, Answer, DeadLetter, Expire, Retry
from bufferproxy.settle.settler import AGAIN, KEPT_REPLY, Settler, writes_of
from bufferproxy.testing.clock import FakeClock

if TYPE_CHECKING:
    from bufferproxy.log.contract import Done
    from bufferproxy.observe.events import Event
    from bufferproxy.settle.settler import Fate

NAMES = ServiceTopics.of("a")
RESULTS, STATES, DEAD = Partition(NAMES.results, 2), NAMES.states_place, NAMES.dead_place
HEAD = b"HTTP/1.1 200 OK\r\nA: b\r\n"
ANSWER = Answer(200, HEAD, b"reply")
FRESH = Request(
    "i" * 48, Position(Partition(NAMES.requests, 1), 5), b"k", b"POST / HTTP/1.1\r\n", b"body", 7, 2
)
RETRIED = FRESH._replace(attempts=1, sends=1, due_at=9000)
NOW = 1_750_000_000_000


class Writer(LogWriter):
    """Appends are decided when the test says so."""

    def __init__(self) -> None:
        self.undecided: list[tuple[Partition, Entry, Done]] = []

    def submit(self, partition: Partition, entry: Entry, done: Done) -> None:
        self.undecided.append((partition, entry, done))

    def partitions(self, topic: str) -> int:
        return 12

    def store(self, number: int = 0) -> None:
        partition, _, done = self.undecided.pop(number)
        done(Position(partition, 1))


class World:
    def __init__(self) -> None:
        self.writer, self.clock = Writer(), FakeClock(wall=NOW / 1000)
        self.events: list[Event] = []
        self.settler = Settler("a", NAMES, self.writer, self.clock, self.events.append)
        self.settled = 0

    def note(self) -> None:
        self.settled += 1

    def settle(self, fate: Fate, request: Request = FRESH) -> None:
        self.settler.settle(request, fate, self.note)


def read(entry: Entry, partition: Partition = RESULTS) -> Change:
    return change_of(Record(partition, 0, entry.key, entry.value, entry.headers, 0.0))


def written(fate: Fate, request: Request = FRESH) -> dict[Partition, Entry]:
    writes = writes_of(request, fate, NOW, NAMES)
    assert len({partition for partition, _ in writes}) == len(writes)
    return dict(writes)


# --- what is written


def test_an_ordinary_delivery_is_one_append() -> None:
    writes = written(Ack(State.DELIVERED, ANSWER))
    assert list(writes) == [RESULTS]
    assert read(writes[RESULTS]) == Change(FRESH.id, State.DELIVERED, NOW, 7, 0, 2, HEAD, b"reply")
    assert writes[RESULTS].key == FRESH.id.encode()


def test_the_end_of_what_was_retried_is_told_in_states_too_and_says_where_the_answer_is() -> None:
    writes = written(Ack(State.DELIVERED, ANSWER), RETRIED)
    assert set(writes) == {RESULTS, STATES}
    assert read(writes[STATES]) == Change(FRESH.id, State.DELIVERED, NOW, 7, 1, 2)
    assert writes[STATES].value == b""


def test_a_rejected_request_is_kept_unless_its_caller_waited_for_the_answer() -> None:
    rejected = Ack(State.REJECTED, Answer(404, HEAD, b"reply"))
    assert set(written(rejected)) == {RESULTS, DEAD}
    assert set(written(rejected, FRESH._replace(waiting=True))) == {RESULTS}
    letter = written(rejected)[DEAD]
    assert dict(letter.headers)["bufferproxy-reason"] == b"rejected"


def test_a_reply_that_is_too_large_is_told_without_its_body() -> None:
    end = read(written(Ack(State.DELIVERED, Answer(200, HEAD, b"", too_large=True)))[RESULTS])
    assert (end.reply_head, end.error, end.state) == (None, "reply-too-large", State.DELIVERED)


def test_a_retry_waits_in_a_tier_and_says_so() -> None:
    request = RETRIED._replace(due_at=NOW + 5000)
    writes = written(Retry(5.0, "503", ANSWER), request)
    delayed = Partition(NAMES.delayed, 2)
    assert set(writes) == {delayed, STATES}
    entry = writes[delayed]
    copy = request_of(Record(delayed, 0, entry.key, entry.value, entry.headers, 0.0), 0, 3)
    assert (copy.id, copy.body, copy.attempts, copy.due_at) == (FRESH.id, b"body", 1, NOW + 5000)
    step = read(writes[STATES])
    assert (step.state, step.next_attempt_at, step.error) == (State.RETRYING, NOW + 5000, "503")


def test_a_dead_letter_keeps_the_request_the_reason_and_the_last_answer() -> None:
    answer = Answer(500, HEAD, b"x" * (KEPT_REPLY + 1))
    writes = written(DeadLetter("attempts", answer, "8 attempts"), RETRIED)
    assert set(writes) == {DEAD, STATES, RESULTS}
    letter = dict(writes[DEAD].headers)
    assert writes[DEAD].key == FRESH.id.encode()
    assert writes[DEAD].value == b"body"
    assert letter["bufferproxy-reason"] == b"attempts"
    assert letter["bufferproxy-status"] == b"500"
    assert letter["bufferproxy-died-at"] == b"%d" % NOW
    assert letter["bufferproxy-reply-head"] == HEAD
    assert len(letter["bufferproxy-reply-body"]) == KEPT_REPLY
    end = read(writes[RESULTS])
    assert (end.state, end.error, len(end.reply_body)) == (State.DEAD, "attempts: 8 attempts", KEPT_REPLY + 1)
    assert read(writes[STATES])[-5:] == (None, b"", None, None, None)


@pytest.mark.parametrize("answer", [None, Answer(500, HEAD, b"", too_large=True)])
def test_a_death_without_an_answer_to_hand_on_says_why(answer: Answer | None) -> None:
    writes = written(DeadLetter("timeout", answer, "slow"))
    assert set(writes) == {DEAD, STATES}
    assert read(writes[STATES]).error == "timeout: slow"


def test_what_expired_is_told_in_states() -> None:
    writes = written(Expire())
    assert set(writes) == {STATES}
    end = read(writes[STATES])
    assert (end.state, end.error, end.reply_head) == (State.EXPIRED, "not sent in time", None)


def test_the_largest_dead_letter_fits_its_topic() -> None:
    topics = topics_of(NAMES, partitions=1, body=1000, reply=1000, keep_results=1, keep_dead=1)
    limits = {topic.name: topic.max_bytes for topic in topics}
    # 64 KiB of headers and 16 KiB of target are the defaults of `receive`; forwarding adds some lines.
    largest = FRESH._replace(head=b"x" * (84 << 10), body=b"x" * 1000, expires_at=1 << 50, due_at=1 << 50)
    answer = Answer(500, b"x" * (64 << 10), b"x" * 1_000_000)
    entry = written(DeadLetter("attempts", answer, ""), largest)[DEAD]
    size = len(entry.key or b"") + len(entry.value) + sum(len(n) + len(v) for n, v in entry.headers)
    assert size <= limits[NAMES.dead]


# --- when it counts as settled


def test_a_record_is_settled_when_all_of_it_is_durable() -> None:
    world = World()
    world.settle(DeadLetter("attempts", ANSWER, ""))
    world.writer.store(2)
    world.writer.store(0)
    assert (world.settled, world.events) == (0, [])
    assert repr(world.settler) == "<Settler a unsettled=1>"
    world.writer.store()
    assert world.settled == 1
    assert world.events == [DeadLettered("a", "attempts"), Finished("a", "dead")]


@pytest.mark.parametrize("error", [AppendRefused("full"), AppendUncertain("timeout")])
async def test_an_append_that_fails_is_tried_until_it_works(error: AppendRefused | AppendUncertain) -> None:
    world = World()
    world.settle(Ack(State.DELIVERED, ANSWER))
    for _ in range(3):
        world.writer.undecided.pop()[2](error)
        await world.clock.advance(AGAIN - 0.01)
        assert world.writer.undecided == []
        await world.clock.advance(0.02)
    assert (world.settled, len(world.writer.undecided)) == (0, 1)
    world.writer.store()
    assert world.settled == 1
    assert world.events == [Finished("a", "delivered")]


@pytest.mark.parametrize("way", ["retry", "postpone", "park"])
def test_that_it_waits_is_told_before_the_copy_that_may_end(way: str) -> None:
    """A word that came late could stand above the end."""
    world, request = World(), RETRIED._replace(due_at=NOW + 5000)
    if way == "retry":
        world.settle(Retry(5.0, "503", None), request)
    elif way == "postpone":
        world.settler.postpone(request, world.note)
    else:
        world.settler.park(request, world.note, lambda: True)
    assert [partition for partition, *_ in world.writer.undecided] == [STATES]
    world.writer.store()
    (copy,) = [partition.topic for partition, *_ in world.writer.undecided]
    assert copy in {NAMES.delayed, NAMES.parked}
    assert world.settled == 0
    world.writer.store()
    assert world.settled == 1


async def test_a_topic_that_takes_less_than_a_request_needs_is_told_of_and_tried_again() -> None:
    world = World()
    world.settle(Retry(5.0, "503", None), RETRIED)
    world.writer.store()
    world.writer.undecided.pop(0)[2](AppendTooLarge("a.delayed takes 5"))
    assert (world.settled, world.events) == (0, [Unsettled("a", "a.delayed takes 5")])
    await world.clock.advance(AGAIN)
    world.writer.store()
    assert (world.settled, world.events[1:]) == (1, [RetryScheduled("a", "503", 5.0)])


@pytest.mark.parametrize(
    ("fate", "request_", "events"),
    [
        (Ack(State.REJECTED, ANSWER), FRESH, [DeadLettered("a", "rejected"), Finished("a", "rejected")]),
        (Ack(State.REJECTED, ANSWER), FRESH._replace(waiting=True), [Finished("a", "rejected")]),
        (Retry(5.0, "503", None), RETRIED, [RetryScheduled("a", "503", 5.0)]),
        (Expire(), FRESH, [Finished("a", "expired")]),
    ],
)
def test_each_fate_is_told_once(fate: Fate, request_: Request, events: list[Event]) -> None:
    world = World()
    world.settle(fate, request_)
    while world.writer.undecided:
        world.writer.store()
    assert (world.settled, world.events) == (1, events)


def test_what_cannot_be_understood_is_kept_as_it_is() -> None:
    world = World()
    record = Record(Partition(NAMES.requests, 3), 9, b"k", b"?", (("bufferproxy-version", b"9"),), 0.0)
    world.settler.quarantine(record, "version 9", world.note)
    partition, entry, _ = world.writer.undecided[0]
    assert partition == Partition(NAMES.dead, 0)
    assert (entry.key, entry.value) == (f"{NAMES.requests}/3/9".encode(), b"?")
    assert entry.headers[0] == ("bufferproxy-version", b"9")
    assert dict(entry.headers)["bufferproxy-reason"] == b"undecodable"
    assert world.settled == 0
    world.writer.store()
    assert world.settled == 1
    assert world.events == [Quarantined("a", "version 9"), Finished("a", "dead")]


def test_a_hop_is_one_append_to_the_next_tier() -> None:
    world = World()
    world.settler.move(RETRIED._replace(due_at=NOW + 1000), world.note)
    assert world.writer.undecided[0][0] == Partition(NAMES.delayed, 1)
    world.writer.store()
    assert (world.settled, world.events) == (1, [])


def test_what_first_leaves_the_tier_where_it_was_accepted_is_told_of_before() -> None:
    """Below the commit of where it was accepted, nothing else says that it is there."""
    world = World()
    accepted = Identity(0, DELAYED, 2, 5, 2, bytes(12))
    there = Position(Partition(NAMES.delayed, 2), 5)
    delayed = FRESH._replace(id=id_of(accepted), position=there, due_at=NOW + 1000)
    world.settler.move(delayed, world.note)
    (partition, entry, _), *more = world.writer.undecided
    assert (partition, more) == (STATES, [])
    told = read(entry)
    assert (told.id, told.state, told.next_attempt_at) == (delayed.id, State.QUEUED, NOW + 1000)
    world.writer.store()
    assert ([one[0] for one in world.writer.undecided], world.settled) == ([Partition(NAMES.delayed, 1)], 0)
    world.writer.store()
    assert world.settled == 1
    world.settler.move(delayed._replace(position=there._replace(offset=6)), world.note)
    assert [one[0] for one in world.writer.undecided] == [Partition(NAMES.delayed, 1)]


@pytest.mark.parametrize(("attempts", "state"), [(0, State.QUEUED), (1, State.RETRYING)])
def test_what_is_parked_before_its_time_is_queued_unless_it_was_tried(attempts: int, state: State) -> None:
    world = World()
    world.settler.park(FRESH._replace(due_at=NOW + 9000, attempts=attempts), world.note, lambda: True)
    told = [read(entry) for partition, entry, _ in world.writer.undecided if partition == STATES]
    assert [(one.state, one.next_attempt_at) for one in told] == [(state, NOW + 9000)]


async def test_a_retry_in_place_is_shown_once_lest_it_is_told_after_the_end() -> None:
    world = World()
    world.settler.note_retry(RETRIED, Retry(5.0, "503", None))
    partition, entry, done = world.writer.undecided.pop()
    assert (partition, read(entry).state, read(entry).next_attempt_at) == (STATES, State.RETRYING, 9000)
    done(AppendRefused("full"))
    await world.clock.advance(10)
    assert world.writer.undecided == []
    assert world.events == [RetryScheduled("a", "503", 5.0)]


# --- of a redriven request

REDRIVEN = FRESH._replace(generation=2, sends=3)


@pytest.mark.parametrize(
    ("fate", "others", "state"),
    [
        (Ack(State.DELIVERED, ANSWER), 2, State.DELIVERED),
        (Ack(State.REJECTED, Answer(404, HEAD, b"")), 2, None),
        (Retry(5.0, "503", ANSWER), 2, State.RETRYING),
        (DeadLetter("attempts", ANSWER, "8 attempts"), 2, None),
        (Expire(), 1, State.EXPIRED),
    ],
)
async def test_that_it_is_settled_is_told_when_all_else_is_durable(
    fate: Fate, others: int, state: State | None
) -> None:
    """Told earlier, a crash in between would have it dropped with nothing to show for it."""
    world = World()
    world.settle(fate, REDRIVEN._replace(due_at=NOW + 5000) if isinstance(fate, Retry) else REDRIVEN)
    for _ in range(others):
        assert all(partition != DEAD for partition, *_ in world.writer.undecided)
        world.writer.store()
    assert world.settled == 0
    ((partition, entry, _),) = world.writer.undecided
    assert partition == DEAD
    proof = letter_of(Record(DEAD, 0, entry.key, entry.value, entry.headers, 0.0))
    if state is None:
        assert isinstance(proof, Letter)
        assert (proof.generation, proof.key, entry.key) == (2, b"k", f"{FRESH.id}/2".encode())
    else:
        assert isinstance(proof, Mark)
        assert (proof.generation, proof.state, entry.key) == (2, state, f"{FRESH.id}/1".encode())
    world.writer.store()
    assert world.settled == 1


def test_its_end_is_told_in_states_too_where_an_earlier_end_may_stand() -> None:
    assert set(written(Ack(State.DELIVERED, ANSWER), REDRIVEN)) == {RESULTS, STATES}


async def test_a_repeat_writes_nothing_and_is_counted() -> None:
    world = World()
    world.settler.drop(world.note)
    assert (world.settled, world.writer.undecided) == (1, [])
    assert world.events == [Finished("a", "cancelled")]
