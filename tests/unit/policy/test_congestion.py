from __future__ import annotations

import math

import pytest

from bufferproxy.policy.adaptive import AdaptiveRule
from bufferproxy.policy.breaker import PROBES, BreakerRule, State
from bufferproxy.policy.congestion import IDLE, PROBE_RATE, Congestion, Settings
from bufferproxy.policy.regime import REASONS, Regime
from bufferproxy.policy.tally import Ending, Tally

SETTINGS = Settings(rate=50.0, concurrency=20)


def counted(ending: Ending = Ending.SERVED, count: int = 1, era: int = 0, **more: float) -> Tally:
    tally = Tally(era)
    for _ in range(count):
        tally.ended(ending, 0.1, tally.sent(again=False))
    for name, value in more.items():
        setattr(tally, name, value)
    return tally


def fed(tally: Tally, settings: Settings = SETTINGS, now: float = 1.0) -> Congestion:
    congestion = Congestion(settings, 0.0)
    congestion.feed(tally, now, 0.0)
    return congestion


def broken(settings: Settings = SETTINGS) -> Congestion:
    """Since second 1, open until 31."""
    return fed(counted(Ending.FAILED, 20), settings)


def what(regime: Regime) -> tuple[float, str, int, str]:
    return regime.rate, regime.rate_reason, regime.concurrency, regime.binding


def test_a_service_that_is_well_has_its_ceiling_from_the_start() -> None:
    assert what(Congestion(SETTINGS, 0.0).regime(0.0)) == (50.0, "ceiling", 20, "ceiling")


def test_who_waits_for_another_to_end_is_held_by_the_concurrency() -> None:
    assert fed(counted(waited=1)).regime(1.0).binding == "concurrency"
    settings = SETTINGS._replace(adaptive=AdaptiveRule())
    assert fed(counted(waited=1), settings).regime(1.0).binding == "adaptive"


def test_paused_nothing_goes_and_afterwards_it_ramps() -> None:
    congestion = Congestion(SETTINGS, 0.0)
    congestion.pause(5.0, paused=True)
    regime = congestion.regime(5.0)
    assert (what(regime), regime.left) == ((0.0, "paused", 0, "paused"), math.inf)
    congestion.pause(6.0, paused=False)
    assert what(congestion.regime(6.0)) == (5.0, "ramp", 20, "ramp")


def test_an_open_breaker_lets_nothing_go_then_a_few_probes_then_a_ramp() -> None:
    congestion = broken()
    regime = congestion.regime(1.0)
    assert (what(regime), regime.left, regime.era) == ((0.0, "breaker", 0, "breaker"), 30.0, 1)
    regime = congestion.regime(31.0)
    assert what(regime) == (PROBE_RATE, "breaker", PROBES, "breaker")
    assert regime.forgiving is State.HALF_OPEN
    congestion.feed(counted(count=PROBES, era=regime.era), 32.0, 0.0)
    assert what(congestion.regime(32.0)) == (5.0, "ramp", 20, "ramp")
    congestion.feed(counted(), 33.0, 0.0)
    assert congestion.regime(48.0).rate == pytest.approx(50 * 0.55)
    assert what(congestion.regime(63.0)) == (50.0, "ceiling", 20, "ceiling")


def test_a_failed_connect_is_no_failure_for_the_breaker() -> None:
    assert fed(counted(Ending.CONNECT, 1000)).regime(1.0).breaker is State.CLOSED


def test_what_the_service_asks_for_rests_all_and_the_longest_wish_holds() -> None:
    congestion = fed(counted(Ending.REFUSED, rest=5.0))
    congestion.feed(counted(rest=1.0), 2.0, 0.0)
    regime = congestion.regime(2.0)
    assert (what(regime), regime.left) == ((0.0, "retry_after", 0, "retry_after"), 4.0)
    assert what(congestion.regime(6.0)) == (50.0, "ceiling", 20, "ceiling")


def test_an_open_breaker_stands_above_a_rest_and_a_rest_above_its_probes() -> None:
    congestion = broken()
    congestion.feed(counted(Ending.REFUSED, rest=100.0), 1.5, 0.0)
    regime = congestion.regime(2.0)
    assert (regime.rate_reason, regime.left) == ("breaker", 99.5)
    assert congestion.regime(40.0).rate_reason == "retry_after"
    assert congestion.regime(102.0).rate_reason == "breaker"


def test_paused_stands_above_all() -> None:
    congestion = broken()
    congestion.pause(2.0, paused=True)
    assert congestion.regime(2.0).rate_reason == "paused"


def test_after_a_long_silence_it_ramps_from_the_first_request_on() -> None:
    congestion = fed(counted())
    congestion.feed(Tally(), 1.0 + IDLE - 1, 0.0)
    assert congestion.regime(IDLE).rate == 50.0
    congestion.feed(Tally(), 1.0 + IDLE, 0.0)
    assert congestion.regime(1.0 + IDLE + 500.0).rate == 5.0


@pytest.mark.parametrize("why", [counted(Ending.CONNECT), counted(Ending.CONNECT, rest=60.0)])
def test_after_an_outage_as_long_as_the_ramp_it_ramps(why: Tally) -> None:
    why.first = 0
    congestion = fed(counted())
    for now, share in ((2.0, 1.0), (30.0, 1.0), (31.0, 0.1)):
        congestion.feed(why, now, 0.0)
        assert congestion.regime(now).ramp == share


def test_a_long_attempt_is_no_silence() -> None:
    congestion = fed(counted())
    silent = Tally()
    silent.in_flight = 1
    congestion.feed(silent, 1.0 + 2 * IDLE, 0.0)
    assert congestion.regime(1.0 + 2 * IDLE).ramp == 1.0


def test_an_unlimited_rate_ramps_its_concurrency() -> None:
    congestion = Congestion(SETTINGS._replace(rate=math.inf), 0.0)
    congestion.pause(0.0, paused=True)
    congestion.pause(0.0, paused=False)
    regime = congestion.regime(0.0)
    assert (regime.rate, regime.concurrency, regime.concurrency_reason) == (math.inf, 2, "ramp")


def test_the_retry_budget_is_told_with_it() -> None:
    patient = SETTINGS._replace(breaker=BreakerRule(failures=1.0))
    ended = counted(Ending.FAILED, 100)
    ended.add(counted(count=400, planned=200))
    regime = fed(ended, patient).regime(1.0)
    assert (regime.retry_rate, regime.retry_wait) == (100.0, pytest.approx(10.0))


def test_of_a_service_that_is_well_again_what_an_outage_left_behind_goes_at_the_full_rate() -> None:
    regime = fed(counted(count=500, planned=200)).regime(1.0)
    assert (regime.rate, regime.retry_rate, regime.retry_wait) == (50.0, math.inf, 0.0)


def test_a_breaker_in_shadow_is_shown_and_holds_nobody_back() -> None:
    congestion = broken(SETTINGS._replace(breaker=BreakerRule(shadow=True)))
    regime = congestion.regime(1.0)
    assert what(regime) == (50.0, "ceiling", 20, "ceiling")
    assert (regime.breaker, regime.forgiving, regime.shadow) == (State.OPEN, State.CLOSED, ("breaker",))
    era = congestion.regime(31.0).era
    congestion.feed(counted(count=PROBES, era=era), 32.0, 0.0)
    assert what(congestion.regime(32.0)) == (50.0, "ceiling", 20, "ceiling")
    assert congestion.regime(32.0).shadow == ()


def test_an_adaptive_limit_in_shadow_is_shown_and_holds_nobody_back() -> None:
    settings = SETTINGS._replace(adaptive=AdaptiveRule(max=100, shadow=True))
    regime = fed(counted(Ending.REFUSED, 100, in_flight=100), settings).regime(1.0)
    assert (regime.concurrency, regime.adaptive, regime.shadow) == (100, 50, ("adaptive",))


def test_new_settings_keep_what_was_learnt() -> None:
    congestion = broken(SETTINGS._replace(adaptive=AdaptiveRule()))
    congestion.change(Settings(10.0, adaptive=AdaptiveRule(max=7)), 2.0)
    regime = congestion.regime(2.0)
    assert (regime.rate_reason, regime.adaptive) == ("breaker", 7)
    congestion.change(Settings(10.0, 5), 2.0)
    assert congestion.regime(2.0).adaptive == 0
    congestion.change(Settings(10.0, adaptive=AdaptiveRule()), 2.0)
    assert congestion.regime(2.0).adaptive == 20


def test_a_new_leader_goes_on_where_the_former_one_stood() -> None:
    former = broken(SETTINGS._replace(adaptive=AdaptiveRule()))
    told = Regime.decode(former.regime(11.0).encode())
    heir = Congestion(SETTINGS._replace(adaptive=AdaptiveRule()), 1000.0)
    heir.inherit(told, 1000.0)
    assert heir.regime(1000.0).left == 20.0
    assert heir.regime(1020.0).era == told.era + 1


def test_a_new_leader_inherits_a_rest_and_a_ramp_and_no_endless_pause() -> None:
    resting = fed(counted(Ending.REFUSED, rest=5.0)).regime(1.0)
    paused = broken()
    paused.pause(1.0, paused=True)
    ramping = Congestion(SETTINGS, 0.0)
    ramping.pause(0.0, paused=True)
    ramping.pause(0.0, paused=False)
    ramping.feed(counted(), 0.0, 0.0)
    expected = [("retry_after", 0.0), ("breaker", PROBE_RATE), ("ramp", pytest.approx(27.5))]
    for regime, (reason, rate) in zip(
        [resting, paused.regime(1.0), ramping.regime(15.0)], expected, strict=True
    ):
        heir = Congestion(SETTINGS, 0.0)
        heir.inherit(regime, 7.0)
        assert (heir.regime(7.0).rate_reason, heir.regime(7.0).rate) == (reason, rate)


@pytest.mark.parametrize("rate", [0.5, math.inf])
def test_a_regime_travels_as_numbers(rate: float) -> None:
    for congestion in (broken(SETTINGS._replace(rate=rate)), fed(counted(), SETTINGS._replace(rate=rate))):
        regime = congestion.regime(2.0)._replace(left=rate, shadow=("breaker", "adaptive"))
        said = regime.encode()
        assert all(isinstance(value, int | float) and math.isfinite(value) for value in said.values())
        back = Regime.decode(said)
        assert back._replace(shadow=()) == regime._replace(shadow=())
        assert set(back.shadow) == set(regime.shadow)


@pytest.mark.parametrize("said", [{}, {"rate": 1}, {"rate_reason": 99}, {"breaker": "open"}])
def test_what_is_no_regime_is_refused(said: dict[str, object]) -> None:
    whole = Congestion(SETTINGS, 0.0).regime(0.0).encode()
    with pytest.raises(ValueError, match=r"regime|invalid"):
        Regime.decode(whole | said if "rate" not in said and said else said)  # type: ignore[arg-type]


def test_its_reasons_are_those_of_the_metric() -> None:
    from bufferproxy.observe.labels import THROTTLES

    assert set(REASONS) == set(THROTTLES)


def test_it_shows_its_numbers() -> None:
    assert repr(Congestion(SETTINGS, 0.0)).startswith("<Congestion <Breaker closed era=0")
