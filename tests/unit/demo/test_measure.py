from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufferproxy.demo.measure import busiest, excess, kept, per_second, summary, tightest, verdict
from bufferproxy.demo.reports import Ending, How, Report
from bufferproxy.demo.scenario import Scenario
from bufferproxy.demo.spike import Call, Fate
from bufferproxy.demo.tally import Standing, Tally

times = st.lists(st.integers(0, 3_000).map(lambda ms: ms / 1000), max_size=40)


def excess_by_definition(times: list[float], rate: float, burst: int) -> float:
    ordered = sorted(times)
    windows = [
        (j - i + 1) - (rate * (max(ordered[j] - ordered[i], 0.1) + 0.01) + burst)
        for i in range(len(ordered))
        for j in range(i, len(ordered))
    ]
    return max(windows, default=float("-inf"))


@given(times, st.integers(1, 200), st.integers(1, 3))
def test_the_ceiling_is_checked_as_promised_over_every_window(
    times: list[float], rate: int, burst: int
) -> None:
    # Windows of exactly 0.1 s may fall on either side of a rounding error: both sides count the same.
    assert tightest(times, rate, burst).over == pytest.approx(
        excess_by_definition(times, rate, burst), abs=1e-6
    )


def test_an_even_stream_at_the_ceiling_keeps_it() -> None:
    assert excess([index / 90 for index in range(900)], 90, 1) <= 0


def test_a_single_bunch_breaks_the_ceiling_whatever_the_average() -> None:
    stream = [index / 45 for index in range(900)]
    assert excess([*stream, *[7.0] * 12], 90, 1) > 0


def test_a_slow_creep_above_the_ceiling_shows_in_a_long_window() -> None:
    assert excess([index / 91 for index in range(900)], 90, 1) > 0


def test_one_attempt_held_in_hand_by_a_frozen_process_is_allowed_once() -> None:
    def frozen(*at: int) -> list[float]:
        """An even stream. Each of these was in hand when the process stood still for 0.1 s; afterwards it
        comes together with the one whose token was earned meanwhile."""
        stream, now = [], 0.0
        for index in range(900):
            now += 0.1 if index in at else 0.0 if index - 1 in at else 1 / 90
            stream.append(now)
        return stream

    assert tightest(frozen(300), 90, 1).over > 0
    assert excess(frozen(300), 90, 1) <= 0
    assert excess(frozen(300, 600), 90, 1) > 0


def test_the_busiest_window_is_found_wherever_it_begins() -> None:
    assert busiest([0.9, 0.95, 1.05, 1.1, 3.0], 1.0) == 4
    assert busiest([], 1.0) == 0


def test_rates_are_counts_by_bin() -> None:
    assert per_second([10.1, 10.2, 11.6], 10.0, 0.5) == [4.0, 0.0, 0.0, 2.0]
    assert per_second([], 10.0, 0.5) == []


SCENARIO = Scenario(spike=0.01)  # three requests


def served_run() -> Tally:
    tally = Tally("through bufferproxy", 0.0, 90, buffered=True)
    for index in range(3):
        tally.sending(index / 300)
        tally.called(Call(index / 300, index / 300 + 0.01, Fate.ACCEPTED, f"id{index}"))
    endings = [Ending(0.5 + index / 10, 0.1, How.OK, f"id{index}") for index in range(3)]
    tally.heard(Report([0.4, 0.5, 0.6], endings, 0, 0, down=False))
    tally.stands(1.0, Standing(3, 3, 3))
    return tally


def test_all_served_below_the_ceiling_is_as_promised() -> None:
    assert verdict(SCENARIO, served_run()) == []


def test_a_request_that_was_accepted_and_never_answered_is_told() -> None:
    tally = served_run()
    tally.sending(0.02)
    tally.called(Call(0.02, 0.03, Fate.ACCEPTED, "lost"))
    assert verdict(SCENARIO, tally) == [
        "1 of 4 requests were not served.",
        f"The proxy says: {said(3, 3, 3)}.",
    ]


def test_a_request_that_was_refused_is_told() -> None:
    tally = served_run()
    tally.sending(0.02)
    tally.called(Call(0.02, 0.03, Fate.REFUSED))
    assert verdict(SCENARIO, tally)[0] == "1 of 4 requests were not served."


def test_a_proxy_that_counts_otherwise_is_told() -> None:
    tally = served_run()
    tally.stands(2.0, Standing(3, 2, 2))
    assert verdict(SCENARIO, tally) == [f"The proxy says: {said(3, 2, 2)}."]


def test_a_proxy_that_said_nothing_is_told() -> None:
    tally = served_run()
    tally.standing = None
    assert verdict(SCENARIO, tally) == ["The proxy says: nothing."]


def test_a_broken_ceiling_is_told() -> None:
    tally = served_run()
    tally.heard(Report([0.5] * 20, [], 0, 0, down=False))
    assert "The ceiling of 90/s was not kept" in verdict(SCENARIO, tally)[0]


def test_a_spike_that_was_never_sent_proves_nothing() -> None:
    assert "Only 3 of 300 requests were sent." in verdict(Scenario(spike=1.0), served_run())


def test_a_summary_counts_failures_by_what_the_callers_saw() -> None:
    tally = Tally("straight at the service", 100.0, 100, buffered=False)
    for fate in (Fate.SERVED, Fate.TIMEOUT, Fate.TIMEOUT, Fate.RESET):
        tally.sending(100.0)
        tally.called(Call(100.0, 102.0, fate))
    tally.heard(Report([100.0] * 4, [Ending(103.0, 3.0, How.UNHEARD, "")], 0, 0, down=False))
    what = summary(tally)
    assert (what.sent, what.served, what.failed) == (4, 1, 3)
    assert what.failures == {Fate.TIMEOUT: 2, Fate.RESET: 1}
    assert (what.slowest, what.longest, what.last, what.peak) == (3.0, 2.0, 2.0, 4)


def said(accepted: int, finished: int, delivered: int) -> str:
    return f"{accepted} accepted, {finished} finished, {delivered} delivered"


def test_what_can_be_said_against_a_good_run_is_said() -> None:
    tally = served_run()
    tally.kernel = True
    assert kept(SCENARIO, tally).endswith("than 90/s allows.")
    tally.kernel = False
    assert "kernel does not stamp arrivals" in kept(SCENARIO, tally)
    tally.arrived = (
        [index / 90 for index in range(90)] + [1.1, 1.1] + [1.1 + index / 90 for index in range(1, 90)]
    )
    assert verdict(SCENARIO, tally) == []
    assert "Once, one came together with the next" in kept(SCENARIO, tally)
