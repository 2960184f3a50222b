"""The congestion controller: whatever is counted whenever, its answers keep within what was set."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from bufferproxy.policy.adaptive import Adaptive, AdaptiveRule
from bufferproxy.policy.breaker import PROBES, BreakerRule, State
from bufferproxy.policy.budget import FLOOR, WINDOW, RetryBudget
from bufferproxy.policy.congestion import PROBE_RATE, Congestion, Settings
from bufferproxy.policy.regime import Regime
from bufferproxy.policy.tally import Ending, Tally

COUNTS = st.integers(0, 60)


@st.composite
def tallies(draw: st.DrawFn) -> Tally:
    tally = Tally(draw(st.integers(0, 3)))
    seconds = draw(st.floats(0.001, 40.0))
    for ending in draw(st.lists(st.sampled_from(Ending), max_size=30)):
        tally.ended(ending, seconds, tally.sent(again=ending is Ending.FAILED))
    tally.planned, tally.waited, tally.in_flight = draw(st.tuples(COUNTS, COUNTS, COUNTS))
    tally.rest = draw(st.sampled_from([0.0, 0.0, 5.0]))
    return tally


@given(st.lists(tallies(), min_size=1, max_size=5))
def test_added_up_in_any_order_and_over_the_wire_tallies_say_the_same(parts: list[Tally]) -> None:
    there, back = Tally(), Tally()
    for part in parts:
        there.add(Tally.decode(part.encode()))
    for part in reversed(parts):
        back.add(part)
    assert (there.ends, there.past) == (back.ends, back.past)
    assert (there.era, there.judged, there.failures) == (back.era, back.judged, back.failures)
    assert math.isclose(there.seconds, back.seconds)
    assert (there.slowest, there.rest) == (back.slowest, back.rest)
    assert there.answers == sum(part.answers for part in parts)


SETTINGS = st.builds(
    Settings,
    rate=st.sampled_from([0.5, 50.0, 5000.0, math.inf]),
    concurrency=st.integers(1, 300),
    adaptive=st.one_of(
        st.none(),
        st.builds(AdaptiveRule, min=st.integers(1, 5), max=st.integers(5, 90), shadow=st.booleans()),
    ),
    breaker=st.builds(
        BreakerRule,
        failures=st.floats(0.01, 1.0),
        window=st.floats(0.1, 100.0),
        minimum=st.integers(1, 30),
        open=st.floats(0.1, 100.0),
        shadow=st.booleans(),
    ),
    ramp=st.sampled_from([0.0, 30.0]),
    budget=st.floats(0.0, 1.0),
)
EVENTS = st.lists(
    st.tuples(st.sampled_from(["feed"] * 6 + ["pause", "resume", "lead"]), st.floats(0.05, 40.0), tallies()),
    max_size=20,
)


@given(SETTINGS, EVENTS, st.floats(0.0, 0.999))
@settings(max_examples=60, deadline=None)
def test_a_regime_never_allows_more_than_was_set_and_says_why_it_is_less(
    set_to: Settings, events: list[tuple[str, float, Tally]], random: float
) -> None:
    congestion, now, paused = Congestion(set_to, 0.0), 0.0, False
    most = set_to.adaptive.max if set_to.adaptive else set_to.concurrency
    for what, wait, tally in events:
        now += wait
        match what:
            case "feed":
                tally.era = congestion.regime(now).era
                congestion.feed(tally, now, random)
            case "lead":
                told, congestion = congestion.regime(now), Congestion(set_to, now)
                congestion.inherit(Regime.decode(told.encode()), now)
                congestion.pause(now, paused=paused)
            case _:
                paused = what == "pause"
                congestion.pause(now, paused=paused)
        regime = congestion.regime(now)
        assert 0 <= regime.rate <= set_to.rate
        assert (regime.concurrency == 0) == (regime.rate == 0) == (regime.left > 0)
        assert regime.concurrency <= most
        assert regime.rate == set_to.rate or regime.rate_reason != "ceiling"
        assert regime.concurrency in (0, most) or regime.concurrency_reason != "concurrency"
        assert (regime.rate_reason == "paused") == paused
        if regime.forgiving is State.OPEN:
            assert regime.rate == 0
        elif regime.forgiving is State.HALF_OPEN:
            assert (regime.rate, regime.concurrency) <= (PROBE_RATE, PROBES)
        if set_to.breaker.shadow:
            assert regime.rate_reason != "breaker"


@given(st.lists(st.tuples(st.floats(0.01, 3.0), tallies()), max_size=40))
@settings(max_examples=40, deadline=None)
def test_the_adaptive_limit_keeps_its_bounds_and_grows_only_where_it_was_used_or_back_from_a_dip(
    ticks: list[tuple[float, Tally]],
) -> None:
    rule = AdaptiveRule(min=2, max=40)
    adaptive, now, top = Adaptive(rule, 0.0), 0.0, 0.0
    top = adaptive.limit
    for wait, tally in ticks:
        now += wait
        if tally.in_flight < 0.8 * top:
            tally.waited = 0
        adaptive.observe(tally, now)
        assert rule.min <= adaptive.limit <= rule.max
        top = max(top, adaptive.limit)
        if top > 20:
            assert any(t.waited or t.in_flight >= 16 for _, t in ticks)


@given(
    st.floats(0.05, 0.5),
    st.lists(st.tuples(st.floats(0.01, 2.0), st.integers(0, 200), st.integers(0, 300)), max_size=80),
)
@settings(deadline=None)
def test_who_keeps_to_what_is_left_stays_within_the_share_of_the_window(
    share: float, ticks: list[tuple[float, int, int]]
) -> None:
    budget, now = RetryBudget(share), 0.0
    sent: list[tuple[float, int, int]] = []
    for wait, first, wanted in ticks:
        now += wait
        budget.observe(first, 0, wanted, now)
        retries = min(wanted, int(budget.left(now)))
        budget.observe(0, retries, 0, now)
        sent.append((now, first, retries))
        within = [row for row in sent if row[0] > now - 0.9 * WINDOW]
        firsts = sum(row[1] for row in sent if row[0] > now - WINDOW)
        # Judged when one is sent: later the first attempts that paid for it leave the window before it does.
        assert not retries or sum(row[2] for row in within) <= max(FLOOR, share * firsts) + 1e-9
        assert budget.wait(now) >= 0
