"""What is said in the control topic is read as it was said; what cannot be read says why."""

from __future__ import annotations

import json
import math

import pytest

from bufferproxy.rate.records import (
    Ask,
    Claim,
    Grant,
    Release,
    Report,
    Said,
    Share,
    Terms,
    Unreadable,
    decode,
    encode,
    pieces,
)

EXAMPLES: list[Said] = [
    Claim("worker-0/k3x9", ("auth", "mail")),
    Report("worker-0/k3x9", 17, -1, {}),
    Report("w", 18, 5120, {"auth": Ask(1200, 3, 7, 12, {"timeout": 2}), "mail": Ask(0, 0, 0)}),
    Grant(1, {"auth": 400, "mail": 380}, {}),
    Grant(
        2,
        {"auth": 400, "mail": 400, "billing": 380},
        {
            "auth": Terms(500.0, {"w": Share(163.333333, 1, 7, 18, 133)}, {"resting": 2.5}),
            "mail": Terms(math.inf, {"w": Share(math.inf, 1, 20, 18)}),
        },
    ),
    Release("w", {"auth": 3}),
]


@pytest.mark.parametrize("said", EXAMPLES, ids=repr)
def test_what_is_said_is_read_as_it_was_said(said: Said) -> None:
    assert decode(encode(said).value) == said


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        b"[]",
        b"3",
        b"{}",
        b'{"version":2}',
        b'{"version":1,"claim":"w"}',
        b'{"version":3,"claim":"w","services":["a"]}',
        b'{"version":2,"claim":"w"}',
        b'{"version":2,"report":1,"worker":"w","seen":3,"asks":{"a":[1]}}',
        b'{"version":2,"report":1,"worker":"w","seen":3,"asks":[]}',
        b'{"version":2,"grant":1,"epochs":{"3":["a"]},"services":{"a":[-1,{},{}]}}',
        b'{"version":2,"grant":1,"epochs":{"3":["a"]},"services":{"a":[NaN,{},{}]}}',
        b'{"version":2,"grant":1,"epochs":{"3":["a"]},"services":{"a":[1,{"w":[1,-1,1,1,0]},{}]}}',
        b'{"version":2,"grant":1,"epochs":{"3":["b"]},"services":{"a":[1,{},{}]}}',
        b'{"version":2,"release":"w","in_flight":3}',
        b"[" * 100_000,
    ],
)
def test_what_cannot_be_read_says_why_and_raises_nothing(value: bytes) -> None:
    found = decode(value)
    assert isinstance(found, Unreadable)
    assert found.why


@pytest.mark.parametrize(
    ("value", "may_lead"),
    [
        (b"hello", False),
        (b'{"claim":"w"}', False),
        (b'{"version":"2"}', False),
        (b'{"version":3,"claim":"w"}', True),
        (b'{"version":3,"grant":7}', True),
        (b'{"version":3,"something":"else"}', True),
        (b'{"version":3,"report":7}', False),
        (b'{"version":2,"claim":"w"}', True),
    ],
)
def test_of_what_cannot_be_read_it_is_known_whether_a_leader_can_have_said_it(
    value: bytes, may_lead: bool
) -> None:
    found = decode(value)
    assert isinstance(found, Unreadable)
    assert found.may_lead is may_lead


def test_a_grant_for_a_few_holders_and_a_report_are_some_hundred_bytes() -> None:
    shares = {f"worker-{n}/a1b2c3": Share(163.333333, 1, 7, 12345, 133) for n in range(3)}
    asks = {
        name: Ask(100_000, 12, 20, 12345, {"timeout": 5, "5xx": 12}) for name in ("auth", "mail", "billing")
    }
    assert len(encode(Grant(9999, {"auth": 123456}, {"auth": Terms(500.0, shares)})).value) < 300
    assert len(encode(Report("worker-0/a1b2c3", 12345, 123456, asks)).value) < 300


def test_grants_of_many_services_and_workers_fit_into_records() -> None:
    workers = [f"worker-with-a-rather-long-name-{n}/{n:032x}" for n in range(100)]
    shares = {worker: Share(163.333333, 1, 100, 123456789, 133) for worker in workers}
    names = [f"service-with-a-rather-long-name-{n}" for n in range(200)]
    regime = {f"what-{n}": 123.456789 for n in range(14)}
    grant = Grant(7, dict.fromkeys([*names, "idle"], 5), {n: Terms(500.0, shares, regime) for n in names})
    parts = pieces(grant)
    assert all(len(encode(part).value) < 1 << 20 for part in parts)
    assert {name: terms for part in parts for name, terms in part.services.items()} == grant.services
    assert {name: epoch for part in parts for name, epoch in part.epochs.items()} == grant.epochs
    assert sum(len(part.epochs) for part in parts) == len(grant.epochs)
    few = grant._replace(services={name: Terms(500.0, {}, regime) for name in names})
    assert pieces(few) == [few], "one record says it all"


def test_no_moment_of_a_clock_is_stored() -> None:
    keys = {key for said in EXAMPLES for key in json.loads(encode(said).value)}
    kinds = {"claim", "report", "grant", "release"}
    assert keys == kinds | {"version", "worker", "seen", "asks", "epochs", "services", "in_flight"}
