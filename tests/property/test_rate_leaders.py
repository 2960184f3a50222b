"""Workers under one prefix that know different services, or would allow them different rates, simulated
(`bufferproxy.testing.rate_world`): each service has a leader that knows it, and no ceiling is broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

import pytest

from bufferproxy.rate.fence import Fence
from bufferproxy.rate.records import Claim, Grant, Read
from bufferproxy.rate.replica import Replica
from bufferproxy.rate.shares import Ceiling
from bufferproxy.testing.rate_world import FAULTS, MANY, Process, World, storm

RATE = 100.0
AUTH, SEARCH = "auth", "search"
BOTH = {AUTH: Ceiling(RATE, 1, 20), SEARCH: Ceiling(RATE, 1, 20)}


def only(*services: str) -> dict[str, Ceiling]:
    return {service: BOTH[service] for service in services}


def apart(seed: int, **how: Any) -> World:
    """A worker a service, one after the other."""
    world = World(seed, BOTH, **how)
    world.add(MANY, only(AUTH))
    world.run(3.0)
    world.add(MANY, only(SEARCH))
    return world


def mixed_storm(seed: int, rate: float, kinds: Sequence[str] = (), **how: Any) -> tuple[World, float]:
    """Faults among processes that know some of three services each, and not all allow each the same."""
    random = Random(f"mixed storm {seed}")
    ceilings = {
        service: Ceiling(rate, random.choice((1, 1, 2)), random.choice((6, 20, 100))) for service in "abc"
    }
    world = World(seed, ceilings, **how)

    def settings() -> Mapping[str, Ceiling]:
        known = random.sample("abc", random.randint(1, 3))
        part = random.choice((1.0, 1.0, 0.6))
        return {service: ceilings[service]._replace(rate=rate * part) for service in known}

    world.newcomer = settings
    world.add(MANY)
    for _ in range(random.randint(2, 5)):
        world.add(random.choice((0, 20, MANY)), settings())
    calm = random.uniform(6, 8)
    kinds = kinds or [*random.sample(list(FAULTS), 4), "join"]
    storm(world, random, calm, [FAULTS[kind] for kind in kinds], random.choice((0.1, 0.3, 1.0)))
    return world, calm


def half_zombies(seed: int, **how: Any) -> World:
    """What a leader of two services appends is stored so late that another one leads one of them by then."""
    random = Random(f"half zombies {seed}")
    world = World(seed, {service: Ceiling(500.0, 1, 20) for service in BOTH}, **how)
    leader = world.add()
    world.run(3.0)
    others = [world.add(0, {SEARCH: world.ceilings[SEARCH]}) for _ in range(random.randint(2, 4))]
    random.choice((leader, *others)).works[SEARCH].given(MANY)
    world.run(4.5)
    leader.mute_until = world.now + random.uniform(2.1, 2.8)
    for process in world.processes:
        world.after(random.uniform(1.8, 2.2), partial(process.works[SEARCH].given, random.choice((0, MANY))))
        if process is not leader and random.random() < 0.5:
            at = leader.mute_until - random.uniform(0.0, 0.05)
            world.at(at, partial(setattr, process, "deaf_until", at + random.uniform(0.1, 0.4)))
    world.run(8.0)
    return world


def roll(world: World, workers: list[Process], settings: Mapping[str, Ceiling]) -> list[Process]:
    """Each worker in turn is replaced by one with other settings."""
    changed = []
    for worker in workers:
        worker.stop()
        changed.append(world.add(0, settings))
        world.run(world.now + 4.0)
    return changed


# --- mutants ---


class OneLeaderForAll(Fence):
    """Who claims anything leads everything, also what it does not know."""

    def counting(self, offset: int, record: Read, now: float) -> Read | None:
        match record:
            case Claim(worker):
                record = Claim(worker, tuple(BOTH))
            case Grant(_, epochs):
                everything = dict.fromkeys(BOTH, max(epochs.values()))
                if super().counting(offset, record._replace(epochs=everything), now) is None:
                    return None
                return record
        return super().counting(offset, record, now)


class AllOrNothing(Fence):
    """A grant of which anything counts counts as a whole."""

    def counting(self, offset: int, record: Read, now: float) -> Read | None:
        return None if super().counting(offset, record, now) is None else record


def with_fence(fence: type[Fence], name: str, now: float, jitter: float) -> Replica:
    replica = Replica(name, now, jitter)
    replica.leader.fence = fence(now)
    return replica


# --- what must hold ---


@pytest.fixture
def seeds(request: pytest.FixtureRequest) -> range:
    return range(3000 if request.config.getoption("--long") else 40)


def test_no_storm_among_processes_that_know_different_services_breaks_a_ceiling(seeds: range) -> None:
    """Nor where some would allow a service less: the larger of the two rates is never exceeded."""
    for seed in seeds:
        world, calm = mixed_storm(seed, (500.0, 20.0, 100.0)[seed % 3])
        world.run(calm + 1.0)
        assert not world.over_ceiling(), f"seed {seed}, {world.ceilings}"


@pytest.mark.parametrize("seed", range(6))
def test_after_a_storm_each_service_that_somebody_knows_uses_what_its_leader_allows(seed: int) -> None:
    world, calm = mixed_storm(seed, 100.0)
    world.run(calm + 5.0)
    world.add(MANY)  # there is something of everything, and somebody who knows it
    world.run(calm + 13.0)
    for service in "abc":
        assert world.used(calm + 9.0, world.now, service) >= 0.6 * 0.9, service
    assert world.longest_wait(calm + 8.0) <= 2.2


def test_late_grants_of_a_leader_that_leads_a_part_of_them_no_more_do_no_harm() -> None:
    for seed in range(20):
        assert not half_zombies(seed).over_ceiling(), f"seed {seed}"


def test_workers_that_know_different_services_do_not_starve_each_other() -> None:
    world = apart(1)
    world.run(9.0)
    assert world.used(6.0, 9.0, AUTH) >= 0.95
    assert world.used(6.0, 9.0, SEARCH) >= 0.95
    assert world.leader(AUTH) is not world.leader(SEARCH)
    assert not world.over_ceiling()


def test_a_rolling_change_that_adds_a_service_and_takes_it_back_starves_neither() -> None:
    world = World(2, BOTH)
    workers = [world.add(MANY, only(AUTH)) for _ in range(3)]
    world.run(8.0)
    workers = roll(world, workers, BOTH)
    workers[0].works[SEARCH].given(MANY)
    added = world.now
    world.run(added + 8.0)
    assert world.used(added + 4.0, world.now, SEARCH) >= 0.9
    roll(world, workers, only(AUTH))
    world.run(world.now + 4.0)
    assert world.used(8.0, world.now, AUTH) >= 0.85
    assert not world.over_ceiling()


def test_where_settings_differ_the_leader_of_the_service_decides() -> None:
    world = World(3, BOTH)
    half = {AUTH: BOTH[AUTH]._replace(rate=RATE / 2)}
    first = world.add(MANY, half)
    world.run(6.0)
    world.add(MANY, BOTH)
    world.run(12.0)
    assert world.leader(AUTH) is first
    assert 0.45 <= world.used(7.0, 12.0, AUTH) <= 0.51
    first.stop()
    world.run(20.0)
    assert world.used(15.0, 20.0, AUTH) >= 0.95


def test_however_many_services_a_process_says_one_record_of_a_kind_at_a_time() -> None:
    many = {f"service-{number}": Ceiling(RATE, 1, 20) for number in range(100)}
    world = World(4, many)
    world.add(1, many)
    world.run(3.0)
    before = len(world.log)
    world.run(8.0)
    assert len(world.log) - before <= 5 * (1 / 0.25 + 1 / 0.25 + 1)
    assert sum(isinstance(said, Claim) for said in world.log) == 1


# --- checks that can fail ---


def test_with_one_leader_for_all_a_service_that_it_does_not_know_starves() -> None:
    world = apart(1, make=partial(with_fence, OneLeaderForAll))
    world.run(9.0)
    assert world.used(6.0, 9.0, AUTH) >= 0.95
    assert world.used(6.0, 9.0, SEARCH) == 0.0


def test_where_a_late_grant_counts_as_a_whole_it_breaks_the_ceiling_of_what_another_leads() -> None:
    whole = partial(with_fence, AllOrNothing)
    assert any(half_zombies(seed, make=whole).over_ceiling() for seed in range(40))
