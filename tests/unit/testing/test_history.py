"""Every check names ids and times in a history that breaks its promise, and keeps quiet else."""

from __future__ import annotations

import pytest

from bufferproxy.http1.reply import Failure, Kind, Phase
from bufferproxy.ids import REQUESTS, Identity, id_of
from bufferproxy.testing.history import (
    Accept,
    End,
    Fault,
    History,
    accepts_of,
    invented,
    lost,
    not_one_end,
    out_of_order,
    repeated,
    too_fast,
)
from bufferproxy.testing.load import Sent, Told
from bufferproxy.testing.promises import Arrival, digest_of
from bufferproxy.testing.samples import Sample, does_not_drain, too_large, went_back

NOTHING = digest_of(b"")


def accept(id_: str, outcome: str = "ok", *, key: str = "", at: float = 0.0) -> Accept:
    return Accept(id_ if outcome == "ok" else "", key, outcome, f"/{id_}", NOTHING, at)  # type: ignore[arg-type]


def attempt(at: float, id_: str, *, n: int = 1, key: str = "") -> Arrival:
    return Arrival(at, id_, n, f"/{id_}", NOTHING, key)


def test_c1_what_was_accepted_and_never_arrived_is_lost() -> None:
    accepts = [accept("a"), accept("b", at=7.0), accept("c", "fail"), accept("d", "unknown")]
    assert lost(History(accepts, [attempt(1, "a"), attempt(1, "b")])) == []
    assert lost(History(accepts, [attempt(1, "a")])) == ["b (/b) was accepted at 7.000 and never arrived"]


@pytest.mark.parametrize("state", ["expired", "cancelled", "dead"])
def test_c1_some_ends_need_no_attempt(state: str) -> None:
    assert lost(History([accept("a")], [], [End("a", state, 1)])) == []
    assert lost(History([accept("a")], [], [End("a", "delivered", 1)])) != []


def test_c2_what_nobody_sent_or_was_refused_or_has_changed_is_invented() -> None:
    accepts = [accept("a"), accept("b", "fail", at=3.0), accept("c", "unknown")]
    assert invented(History(accepts, [attempt(1, "a"), attempt(1, "c")])) == []
    assert invented(History(accepts, [attempt(4, "b")])) == [
        "b (/b) was refused at 3.000, and arrived at 4.000"
    ]
    assert invented(History(accepts, [attempt(4, "x")])) == ["x (/x) arrived at 4.000: nobody sent it"]
    changed = attempt(4, "a")._replace(digest=digest_of(b"else"))
    assert invented(History(accepts, [changed])) == ["a (/a) arrived changed at 4.000"]


def test_c2_an_arrival_has_the_id_that_its_caller_was_told() -> None:
    other = attempt(4, "a")._replace(id="z")
    assert invented(History([accept("a")], [other])) == ["/a was accepted as a and arrived as z"]


def test_c3_a_repeat_needs_a_fault_near_its_first_arrival() -> None:
    attempts = [attempt(1.0, "a"), attempt(1.1, "b"), attempt(5.0, "a")]
    fault = Fault("kill", at=1.5, healed=2.0, repeats=1, reach=1.0)
    assert repeated(History([], attempts[:2])) == []
    assert repeated(History([], attempts, faults=[fault])) == []
    assert repeated(History([], attempts, faults=[fault._replace(reach=0.1)])) == [
        "a arrived at 1.000 and 5.000 as attempt 1: no fault was near"
    ]
    assert repeated(History([], attempts, faults=[fault._replace(at=0.1, healed=0.9)]))
    assert repeated(History([], attempts))


def test_c3_faults_allow_only_so_many_repeats() -> None:
    attempts = [attempt(1.0, "a"), attempt(1.1, "b"), attempt(5.0, "a"), attempt(5.1, "b")]
    fault = Fault("kill", at=1.5, healed=2.0, repeats=2)
    assert repeated(History([], attempts, faults=[fault])) == []
    assert repeated(History([], attempts, faults=[fault._replace(repeats=1)])) == [
        "2 repeats, 1 faults explain 1: a at 5.000, b at 5.100"
    ]


def test_c3_a_retry_is_no_repeat() -> None:
    assert repeated(History([], [attempt(1.0, "a"), attempt(2.0, "a", n=2)])) == []
    assert repeated(History([], [attempt(1.0, "a"), attempt(2.0, "a", n=2), attempt(3.0, "a", n=2)]))


FIRST, SECOND, THIRD = (id_of(Identity(1, REQUESTS, 0, n, 0, bytes(12))) for n in range(3))
KEYED = [accept(id_, key="k") for id_ in (SECOND, FIRST, THIRD)]


def keyed(*ids: str) -> list[Arrival]:
    return [attempt(float(n), id_, key="k") for n, id_ in enumerate(ids, 1)]


def test_c4_a_key_is_delivered_in_the_order_of_the_log() -> None:
    assert out_of_order(History(KEYED, keyed(FIRST, SECOND, THIRD))) == []
    complaints = out_of_order(History(KEYED, keyed(FIRST, THIRD, SECOND)))
    assert f"key k: {SECOND} arrived first at 3.000, after {THIRD} at 2.000" in complaints[-1]


def test_c4_a_key_goes_back_once_for_each_fault() -> None:
    again = keyed(FIRST, SECOND, FIRST, SECOND, THIRD)
    fault = Fault("kill", at=2.5, healed=2.9)
    assert out_of_order(History(KEYED, again, faults=[fault])) == []
    assert out_of_order(History(KEYED, again)) == [
        f"key k: {FIRST} arrived at 3.000 after {SECOND}, which was accepted later and arrived at 2.000"
    ]
    assert out_of_order(History(KEYED, again, faults=[fault._replace(at=3.5)])) != []
    twice = keyed(FIRST, SECOND, FIRST, SECOND, FIRST, SECOND, THIRD)
    assert len(out_of_order(History(KEYED, twice, faults=[fault]))) == 1


def test_c5_the_ceiling_holds_in_every_window() -> None:
    steady = [attempt(n / 100, f"{n}") for n in range(1000)]
    assert too_fast(History([], steady), rate=100, burst=1) == []
    crowded = [*steady, *(attempt(5.0 + n / 10000, f"x{n}") for n in range(4))]
    assert too_fast(History([], crowded), rate=100, burst=1)[0].startswith(
        "2 arrivals more than windows of 0.1 s allow (0 for frozen workers): at 5."
    )
    assert too_fast(History([], crowded), rate=100, burst=5) == []


def test_c5_a_frozen_worker_may_add_one_attempt_once() -> None:
    steady = [attempt(n / 99.9, f"{n}") for n in range(1000)]
    one_more = [*steady, *(attempt(5.0 + n / 10000, f"x{n}") for n in range(3))]
    frozen = [Fault("SIGSTOP", 4.0, 5.5, frozen=1)]
    assert too_fast(History([], one_more), rate=100, burst=1)
    assert too_fast(History([], one_more, faults=frozen), rate=100, burst=1) == []
    twice = [*one_more, *(attempt(8.0 + n / 10000, f"y{n}") for n in range(3))]
    assert too_fast(History([], twice, faults=frozen), rate=100, burst=1)


def test_c6_each_accepted_request_has_one_end() -> None:
    accepts = [accept("a"), accept("b", at=2.0), accept("c", "fail")]
    good = [
        End("a", "retrying", 1),
        End("a", "delivered", 2),
        End("a", "delivered", 2.5),
        End("b", "dead", 3),
    ]
    assert not_one_end(History(accepts, [], good)) == []
    assert not_one_end(History(accepts, [], good[:-1])) == ["b was accepted at 2.000 and has no end"]
    assert not_one_end(History(accepts, [], [*good, End("b", "delivered", 4)])) == [
        "b ended more than once: dead at 3.000, delivered at 4.000"
    ]


def test_c7_memory_is_bounded() -> None:
    memory = [Sample(1, "worker", 100), Sample(2, "worker", 120)]
    assert too_large(memory, 120) == []
    assert too_large(memory, 110) == ["worker held 120 bytes at 2.000, 110 are allowed"]


def test_c8_committed_offsets_never_go_back() -> None:
    rising = [Sample(1, "p/0", 10), Sample(2, "p/1", 5), Sample(3, "p/0", 10), Sample(4, "p/0", 12)]
    assert went_back(rising) == []
    assert went_back([*rising, Sample(5, "p/0", 11)]) == [
        "p/0 was committed to 12 at 4.000, and to 11 at 5.000"
    ]


def test_c9_a_backlog_drains_after_the_fault_has_healed() -> None:
    backlog = [Sample(1, "", 0), Sample(2, "", 50), Sample(5, "", 20), Sample(8, "", 0)]
    assert does_not_drain(backlog, healed=3, within=6) == []
    assert does_not_drain(backlog, healed=3, within=4) == [
        "empty at 8.000, 5.0 s after it healed; 4 s are allowed"
    ]
    assert does_not_drain(backlog[:3], healed=3, within=6) == [
        "20 are still open at 5.000, 2.0 s after it healed"
    ]
    assert does_not_drain(backlog, healed=9, within=6) == ["nobody looked at the backlog after 9.000"]


def told(status: int, head: bytes = b"", body: bytes = b"", failure: Failure | None = None) -> Told:
    return Told(Sent(b"/x"), status, b"HTTP/1.1 X\r\n" + head, body, failure, 0.0, 1.0)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (told(202, b"Bufferproxy-Id: a\r\n"), "ok"),
        (told(200, b"Bufferproxy-Id: a\r\n"), "ok"),
        (told(503, body=b"urn:bufferproxy:problem:backlog-full"), "fail"),
        (told(503, body=b"urn:bufferproxy:problem:outcome-unknown"), "unknown"),
        (told(0, failure=Failure(Phase.CONNECT, Kind.REFUSED, sent=False, detail="")), "fail"),
        (told(0, failure=Failure(Phase.FIRST_BYTE, Kind.CLOSED, sent=True, detail="")), "unknown"),
    ],
)
def test_what_a_caller_was_told_says_whether_it_is_stored(answer: Told, outcome: str) -> None:
    (found,) = accepts_of([answer], ahead=100.0)
    assert (found.outcome, found.at) == (outcome, 101.0)


def test_all_complaints_of_a_history_say_which_check_they_are_of_and_are_not_endless() -> None:
    accepts = [accept(f"{n}") for n in range(20)]
    complaints = History(accepts, []).complaints(rate=10)
    assert len(complaints) == 6
    assert complaints[0].startswith("C1: 0 (/0) was accepted at")
    assert complaints[-1] == "C1: and 15 more"
