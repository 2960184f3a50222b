"""The controller against services that misbehave, over minutes of simulated time. The seed is in the name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bufferproxy.policy.adaptive import AdaptiveRule
from bufferproxy.policy.breaker import BreakerRule, State
from bufferproxy.policy.congestion import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.conftest import Seen, Service, World

BEST: dict[str, float] = {}
"""Served per second by the best fixed setting, by what is asked: for one seed, it hardly depends on it."""

SEEDS = pytest.mark.parametrize("seed", [1, 2, 3])
REPLICAS = pytest.mark.parametrize(("replicas", "lag"), [(1, 0.0), (3, 0.06)], ids=["one", "three"])
ADAPTIVE = AdaptiveRule(min=2, max=200)


def steady(rate: float, until: float = float("inf")) -> Callable[[float], float]:
    return lambda now: rate if now < until else 0.0


def best_fixed(build: Callable[[int], World], until: float, since: float) -> float:
    """Served per second with the best of some fixed settings."""
    best = 0.0
    for concurrency in (3, 9, 12, 15, 30):
        seen = build(concurrency).run(until)
        best = max(best, seen.rate(seen.served, since, until))
    return best


def worst_second(seen: Seen, start: float, end: float) -> int:
    """The most attempts in any second between the two."""
    sent = [at for at in seen.sent if start <= at < end]
    most = last = 0
    for first, at in enumerate(sent):
        while last < len(sent) and sent[last] < at + 1.0:
            last += 1
        most = max(most, last - first)
    return most


@SEEDS
@REPLICAS
@pytest.mark.parametrize(
    ("rate", "trouble"),
    [
        (300.0, {}),
        (300.0, {"slots": 2}),
        (300.0, {"refuse_above": 15}),
        (300.0, {"slots": 30, "refuse_above": 12}),
        (50.0, {"slow": True}),
    ],
    ids=["queue", "few-slots", "refuses", "refuses-without-a-queue", "slows-to-2s"],
)
def test_what_is_found_is_within_a_tenth_of_the_best_fixed_setting(
    world: type[World],
    service: type[Service],
    seed: int,
    replicas: int,
    lag: float,
    rate: float,
    trouble: dict[str, float],
) -> None:
    more = dict(trouble)
    slow = more.pop("slow", False)
    base = (lambda now: 0.02 if now < 30 else 2.0) if slow else (lambda _: 0.1)

    def build(concurrency: int | None) -> World:
        settings = Settings(rate, concurrency or 20, None if concurrency else ADAPTIVE)
        return world(
            service(base=base, **more),
            settings,
            seed=seed,
            # Always more than it can do, but no backlog of hours.
            offered=lambda now: 6.0 if slow and now > 30 else rate / 2,
            replicas=replicas,
            lag=lag,
        )

    until, since = (420.0, 180.0) if slow else (240.0, 60.0)
    found = build(None).run(until)
    case = f"{trouble} {replicas}"
    if case not in BEST:
        BEST[case] = best_fixed(build, until, since)
    assert found.rate(found.served, since, until) >= 0.9 * BEST[case]
    assert len(found.sent) <= 1.2 * found.offered


@SEEDS
@REPLICAS
def test_the_limit_found_does_not_creep_up_with_the_queue(
    world: type[World], service: type[Service], seed: int, replicas: int, lag: float
) -> None:
    seen = world(
        service(),
        Settings(1000.0, 20, ADAPTIVE),
        seed=seed,
        offered=steady(600.0),
        replicas=replicas,
        lag=lag,
    ).run(150.0)
    assert all(regime.concurrency <= 30 for now, regime in seen.regimes if now > 20)


@SEEDS
@REPLICAS
def test_a_service_that_fails_half_the_time_is_used_fully_within_the_budget(
    world: type[World], service: type[Service], seed: int, replicas: int, lag: float
) -> None:
    settings = Settings(50.0, breaker=BreakerRule(failures=0.8))
    seen = world(
        service(failing=lambda _: 0.5),
        settings,
        seed=seed,
        offered=steady(60.0),
        replicas=replicas,
        lag=lag,
    ).run(300.0)
    assert seen.rate(seen.sent, 30, 300) >= 0.95 * 50
    assert seen.rate(seen.served, 30, 300) >= 0.9 * 25
    assert seen.retries <= 0.2 * (len(seen.sent) - seen.retries)
    assert seen.retries >= 0.15 * (len(seen.sent) - seen.retries), "the budget is there to be used"
    assert seen.dead == 0


@SEEDS
@REPLICAS
def test_what_exceeds_the_budget_waits_and_is_served_when_all_is_well_again(
    world: type[World], service: type[Service], seed: int, replicas: int, lag: float
) -> None:
    settings = Settings(50.0, breaker=BreakerRule(failures=0.8))
    seen = world(
        service(failing=lambda now: 0.5 if now < 120 else 0.0),
        settings,
        seed=seed,
        offered=steady(30.0, until=400.0),
        replicas=replicas,
        lag=lag,
    ).run(1500.0)
    assert len(seen.served) == seen.offered
    # Half of 120 s fails, some of it twice, and all of it has to be sent again in the end.
    assert len(seen.sent) <= 1.3 * seen.offered


@SEEDS
@REPLICAS
@pytest.mark.parametrize("goes_on", [True, False])
def test_what_a_short_outage_has_left_behind_is_served_soon_and_not_at_the_budget(
    world: type[World], service: type[Service], seed: int, replicas: int, lag: float, goes_on: bool
) -> None:
    """Nothing else may come any more, so nothing earns a budget."""
    seen = world(
        service(failing=lambda now: 1.0 if now < 10 else 0.0),
        Settings(50.0, breaker=BreakerRule(minimum=1 << 30)),
        seed=seed,
        offered=steady(30.0, until=60.0 if goes_on else 10.0),
        replicas=replicas,
        lag=lag,
    ).run(90.0)
    assert len(seen.served) == seen.offered
    assert seen.dead == 0


@SEEDS
@REPLICAS
def test_ten_minutes_of_500_cost_next_to_nothing_and_no_request_its_life(
    world: type[World], service: type[Service], seed: int, replicas: int, lag: float
) -> None:
    end = 660.0
    seen = world(
        service(failing=lambda now: 1.0 if 60 <= now < end else 0.0),
        Settings(50.0, 20, ADAPTIVE),
        seed=seed,
        offered=steady(30.0, until=700.0),
        replicas=replicas,
        lag=lag,
    ).run(2400.0)
    assert len(seen.sent) <= 1.2 * seen.offered
    assert seen.dead == 0
    assert len(seen.served) == seen.offered
    assert not [at for at in seen.burnt if 70 <= at < end + 130], "held back, or a probe: it burns nothing"
    assert seen.rate(seen.sent, 75, end) < 0.1
    closed = next(now for now, regime in seen.regimes if now > end and regime.breaker is State.CLOSED)
    assert closed <= end + 4 * 30 * 1.1 + 3
    assert worst_second(seen, end, closed + 3) <= 12, "no herd"
    assert worst_second(seen, closed + 10, closed + 15) <= 30
    assert seen.rate(seen.sent, closed + 35, closed + 95) >= 0.95 * 50


@SEEDS
@REPLICAS
def test_ten_minutes_out_of_reach_use_up_no_attempt_and_end_without_a_herd(
    world: type[World], service: type[Service], seed: int, replicas: int, lag: float
) -> None:
    end = 660.0
    seen = world(
        service(down=lambda now: 60 <= now < end),
        Settings(50.0, 20, ADAPTIVE),
        seed=seed,
        offered=steady(30.0, until=700.0),
        replicas=replicas,
        lag=lag,
    ).run(2400.0)
    assert len(seen.sent) == len(seen.served) == seen.offered
    assert not seen.burnt
    assert worst_second(seen, end, end + 8) <= 20, "no herd"
    assert seen.rate(seen.sent, end + 40, end + 100) >= 0.95 * 50


@SEEDS
@REPLICAS
def test_503_with_retry_after_rests_the_service_on_all_replicas(
    world: type[World], service: type[Service], seed: int, replicas: int, lag: float
) -> None:
    seen = world(
        service(base=lambda _: 0.1, refuse_above=15),
        Settings(300.0, 20, ADAPTIVE),
        seed=seed,
        offered=steady(150.0),
        replicas=replicas,
        lag=lag,
    ).run(240.0)
    assert not seen.burnt
    rests = [now for now, regime in seen.regimes if regime.rate_reason == "retry_after" and regime.left > 4]
    assert rests
    for now in rests:
        assert seen.rate(seen.sent, now + 1.0, now + 3.9) == 0.0


@SEEDS
def test_in_shadow_nothing_is_held_back_and_what_would_be_is_said(
    world: type[World], service: type[Service], seed: int
) -> None:
    settings = Settings(
        50.0,
        adaptive=AdaptiveRule(shadow=True),
        breaker=BreakerRule(shadow=True),
    )
    seen = world(
        service(failing=lambda now: 1.0 if now > 60 else 0.0), settings, seed=seed, offered=steady(60.0)
    ).run(120.0)
    assert seen.rate(seen.sent, 70, 120) >= 0.95 * 50
    assert {regime.binding for _, regime in seen.regimes} == {"ceiling"}
    after = [regime for now, regime in seen.regimes if now > 75]
    assert all("breaker" in regime.shadow and regime.breaker is not State.CLOSED for regime in after)
