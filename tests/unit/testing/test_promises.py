"""Every checker complains about a history that breaks its promise, and about none that keeps it."""

from __future__ import annotations

from itertools import product

import pytest

from bufferproxy.testing.promises import (
    Arrival,
    as_told,
    digest_of,
    duplicates,
    fullest,
    key_order,
    nothing_invented,
    nothing_lost,
    one_at_a_time,
    one_end,
    over_ceiling,
    same_id,
    unchanged,
    used,
    used_when_quiet,
)


def arrival(at: float, id_: str, *, attempt: int = 1, body: bytes = b"", key: str = "k") -> Arrival:
    return Arrival(at, id_, attempt, f"/{id_}", digest_of(body), key)


GOOD = [arrival(0.0, "a"), arrival(0.1, "b"), arrival(0.2, "c")]


def test_what_was_accepted_and_never_arrived_is_lost() -> None:
    assert nothing_lost(["a", "b", "c"], GOOD) == []
    assert nothing_lost(["a", "b", "d"], GOOD) == ["d was accepted and never arrived"]


def test_what_nobody_sent_is_invented() -> None:
    assert nothing_invented(["/a", "/b", "/c", "/d"], GOOD) == []
    assert nothing_invented(["/a", "/b"], GOOD) == ["/c arrived, and nobody sent it"]


def test_every_arrival_beyond_one_for_an_id_is_a_duplicate() -> None:
    assert duplicates(GOOD) == 0
    assert duplicates([*GOOD, arrival(0.3, "a"), arrival(0.4, "a"), arrival(0.5, "b")]) == 3


def test_a_target_that_arrives_under_two_ids_was_not_repeated_but_made_anew() -> None:
    assert same_id([*GOOD, arrival(0.3, "a", attempt=2)]) == []
    assert same_id([*GOOD, arrival(0.3, "z")._replace(target="/a")]) == ["/a arrived as ['a', 'z']"]


def test_an_arrival_has_the_id_that_its_caller_was_told() -> None:
    assert as_told([("/a", "a"), ("/x", "x")], GOOD) == []
    assert as_told([("/a", "z")], GOOD) == ["/a was accepted as z and arrived as a"]


def test_a_body_that_changed_on_the_way_is_noticed() -> None:
    assert unchanged([("/a", b""), ("/x", b"1")], GOOD) == []
    assert unchanged([("/a", b"1")], GOOD) == ["the body of /a arrived changed"]


def test_a_key_whose_requests_overtake_each_other_is_out_of_order() -> None:
    sent = [("k", "a"), ("k", "b"), ("k", "c")]
    assert key_order(sent, GOOD) == []
    assert key_order(sent, [arrival(0.0, "b"), arrival(0.1, "a"), arrival(0.2, "c")]) == [
        "key k: a arrived after b, which was accepted later"
    ]


def test_keys_may_overtake_each_other_and_repeats_are_no_disorder() -> None:
    sent = [("k", "a"), ("l", "b"), ("k", "c")]
    arrivals = [arrival(0.0, "b", key="l"), arrival(0.1, "a"), arrival(0.2, "c"), arrival(0.3, "a")]
    assert key_order(sent, arrivals) == []


def test_two_of_one_key_at_once_are_noticed() -> None:
    assert one_at_a_time(GOOD, 0.1) == []
    assert one_at_a_time(GOOD, 0.15) == [
        "key k: b arrived 0.100 s after a",
        "key k: c arrived 0.100 s after b",
    ]
    assert one_at_a_time([one._replace(key=one.id) for one in GOOD], 0.15) == []


def steady(rate: float, seconds: float) -> list[float]:
    return [n / rate for n in range(int(rate * seconds))]


@pytest.mark.parametrize(("window", "jitter"), list(product((0.1, 1.0, 5.0), (0.0, 0.01))))
def test_a_steady_flow_at_the_rate_is_within_it_and_a_quicker_one_is_not(
    window: float, jitter: float
) -> None:
    assert over_ceiling(steady(100, 10), rate=100, burst=1, window=window, jitter=jitter) == []
    quicker = steady(100 * (1 + (2 + 100 * jitter) / (100 * window)), 10)
    assert over_ceiling(quicker, rate=100, burst=1, window=window, jitter=jitter)


def test_one_burst_too_many_anywhere_is_noticed() -> None:
    flow = steady(100, 10)
    assert over_ceiling([*flow, 5.001, 5.002], rate=100, burst=3, window=0.1, jitter=0.0) == []
    assert over_ceiling([*flow, 5.001, 5.002], rate=100, burst=1, window=0.1, jitter=0.0)
    assert over_ceiling([*flow, 5.001, 5.002], rate=100, burst=1, window=5.0, jitter=0.0)


def test_the_fullest_window_is_found_wherever_it_is() -> None:
    assert fullest([], 1.0) == 0
    assert fullest([0.0, 5.0, 5.1, 5.2, 9.0], 1.0) == 3


def test_a_rate_that_is_not_used_shows() -> None:
    assert used(steady(100, 10), 100) == pytest.approx(1.0)
    assert used(steady(90, 10), 100) == pytest.approx(0.9)
    assert used([1.0], 100) == 0.0


def test_seconds_in_which_the_machine_stood_still_do_not_count() -> None:
    times = [time for time in steady(100, 10) if not 4.5 <= time < 5.5]
    assert used(times, 100) < 0.95
    assert used_when_quiet(times, 100, [(4.5, 1.0)]) == (pytest.approx(1.0), 6)
    assert used_when_quiet(times, 100, [])[0] < 0.95
    assert used_when_quiet(times, 100, [(0.0, 10.0), *((float(n), 0.1) for n in range(10))]) == (0.0, 0)


def test_an_id_with_two_ends_is_noticed() -> None:
    assert one_end([("a", "delivered"), ("a", "delivered"), ("b", "dead")]) == []
    assert one_end([("a", "delivered"), ("a", "dead")]) == ["a ended as ['dead', 'delivered']"]
