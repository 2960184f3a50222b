"""When a name is asked for again, how old a connection may be, and what holds while nobody answers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufferproxy.deliver.names import (
    AGE_SPREAD,
    ASK_AGAIN_SECONDS,
    GREATEST_AGE_SECONDS,
    LONGEST_AGE_SECONDS,
    LOOK_UP_PATIENCE_SECONDS,
    RETRY_SECONDS,
    Answer,
    NoAnswer,
    ResolvedName,
    ask_after,
    greatest_age,
    is_address,
    retires_at,
)


@pytest.mark.parametrize(
    ("ttl", "asked_after", "age"),
    [
        (None, 10.0, 60.0),
        (0.0, 1.0, 30.0),
        (5.0, 5.0, 35.0),
        (30.0, 30.0, 60.0),
        (270.0, 270.0, 300.0),
        (86400.0, 270.0, 300.0),
    ],
)
def test_ages_follow_the_time_to_live_where_it_is_known(
    ttl: float | None, asked_after: float, age: float
) -> None:
    assert (ask_after(ttl), greatest_age(ttl)) == (asked_after, age)


@given(st.one_of(st.none(), st.floats(0, 1e6)), st.floats(0, 1, exclude_max=True), st.floats(0, 1e9))
def test_no_connection_is_older_than_its_age_nor_much_younger(
    ttl: float | None, random: float, now: float
) -> None:
    age = greatest_age(ttl)
    assert age <= LONGEST_AGE_SECONDS
    assert ask_after(ttl) <= age
    assert now + age * (1 - AGE_SPREAD) - 1e-6 <= retires_at(now, age, random) <= now + age


def resolved(*addresses: str, ttl: float | None = None, at: float = 100.0) -> ResolvedName:
    name = ResolvedName("auth.example")
    name.asked(at)
    name.learn(Answer(addresses, ttl), at)
    return name


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1"])
def test_nobody_is_asked_for_an_address(host: str) -> None:
    name = ResolvedName(host)
    assert is_address(host)
    assert name.addresses == (host,)
    name.doubt(1000.0)
    assert not name.due(1e9)


def test_a_name_is_due_from_the_start_and_once() -> None:
    name = ResolvedName("auth.example")
    assert name.due(0.0)
    name.asked(0.0)
    assert not name.due(1000.0)


def test_an_answer_holds_for_its_time() -> None:
    assert not resolved("a").due(100.0 + ASK_AGAIN_SECONDS - 0.1)
    assert resolved("a").due(100.0 + ASK_AGAIN_SECONDS)
    assert not resolved("a", ttl=60.0).due(159.9)
    assert resolved("a", ttl=60.0).due(160.0)


def test_an_answer_replaces_the_one_before() -> None:
    name = resolved("a", "b")
    name.asked(110.0)
    name.learn(Answer(("c",)), 110.0)
    assert name.addresses == ("c",)


def test_a_name_that_has_no_address_any_more_is_believed() -> None:
    name = resolved("a")
    name.asked(110.0)
    name.learn(Answer((), detail="Name or service not known"), 110.0)
    assert name.addresses == ()
    assert "not known" in repr(name)
    assert not name.due(110.0 + RETRY_SECONDS - 0.1)
    assert name.due(110.0 + RETRY_SECONDS)


def test_a_look_up_that_fails_leaves_the_last_answer_in_force_for_however_long() -> None:
    name, now = resolved("a"), 100.0
    for _ in range(1000):
        now += ASK_AGAIN_SECONDS
        assert name.due(now)
        name.asked(now)
        name.learn(NoAnswer("Temporary failure in name resolution"), now)
        assert name.addresses == ("a",)
        assert not name.due(now + ASK_AGAIN_SECONDS - 0.1)


def test_a_name_that_never_had_an_answer_is_asked_for_every_second() -> None:
    name = ResolvedName("auth.example")
    name.asked(0.0)
    name.learn(NoAnswer("no"), 3.0)
    assert not name.due(3.0 + RETRY_SECONDS - 0.1)
    assert name.due(3.0 + RETRY_SECONDS)


def test_a_failed_connect_makes_the_name_due_and_many_do_so_once_a_second() -> None:
    name = resolved("a")
    name.doubt(100.2)
    assert not name.due(100.9)
    assert name.due(100.0 + RETRY_SECONDS)
    name = resolved("a")
    name.doubt(105.0)
    assert name.due(105.0)


@pytest.mark.parametrize(
    ("case", "name", "now", "needed", "until"),
    [
        ("nothing is under way", None, 100.0, True, -math.inf),
        ("nothing is known, and nothing else there", ResolvedName("x"), 200.0, True, math.inf),
        ("nothing is known, but another URL works", ResolvedName("x"), 200.0, False, -math.inf),
        ("known and fresh", resolved("a"), 111.0, False, -math.inf),
        (
            "known, and none of it can be reached",
            resolved("a"),
            111.0,
            True,
            111.0 + LOOK_UP_PATIENCE_SECONDS,
        ),
        (
            "known, and too old to be trusted before somebody is asked",
            resolved("a"),
            100.0 + GREATEST_AGE_SECONDS,
            False,
            100.0 + GREATEST_AGE_SECONDS + LOOK_UP_PATIENCE_SECONDS,
        ),
    ],
)
def test_a_connect_waits_for_a_look_up_only_where_it_must(
    case: str, name: ResolvedName | None, now: float, needed: bool, until: float
) -> None:
    if name is None:
        name = resolved("a")
    else:
        name.asked(now)
    assert name.wait_until(now, needed=needed) == until, case


def test_while_the_resolver_fails_no_connect_waits_for_it_again_and_again() -> None:
    name = resolved("a")
    name.asked(200.0)
    name.learn(NoAnswer("no"), 205.0)
    name.asked(215.0)
    assert name.wait_until(215.0, needed=False) == -math.inf
