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
)

EXAMPLES: list[Said] = [
    Claim("worker-0/k3x9"),
    Report("worker-0/k3x9", 17, -1, {}),
    Report("w", 18, 5120, {"auth": Ask(1200, 3, 7, 12, {"timeout": 2}), "mail": Ask(0, 0, 0)}),
    Grant(400, 1, {}),
    Grant(
        400,
        2,
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
        b'{"version":1}',
        b'{"version":2,"claim":"w"}',
        b'{"version":1,"report":1,"worker":"w","seen":3,"asks":{"a":[1]}}',
        b'{"version":1,"report":1,"worker":"w","seen":3,"asks":[]}',
        b'{"version":1,"grant":1,"epoch":3,"services":{"a":[-1,{},{}]}}',
        b'{"version":1,"grant":1,"epoch":3,"services":{"a":[NaN,{},{}]}}',
        b'{"version":1,"grant":1,"epoch":3,"services":{"a":[1,{"w":[1,-1,1,1,0]},{}]}}',
        b'{"version":1,"release":"w","in_flight":3}',
        b"[" * 100_000,
    ],
)
def test_what_cannot_be_read_says_why_and_raises_nothing(value: bytes) -> None:
    found = decode(value)
    assert isinstance(found, Unreadable)
    assert found.why


def test_a_grant_for_a_few_holders_and_a_report_are_some_hundred_bytes() -> None:
    shares = {f"worker-{n}/a1b2c3": Share(163.333333, 1, 7, 12345, 133) for n in range(3)}
    asks = {
        name: Ask(100_000, 12, 20, 12345, {"timeout": 5, "5xx": 12}) for name in ("auth", "mail", "billing")
    }
    assert len(encode(Grant(123456, 9999, {"auth": Terms(500.0, shares)})).value) < 300
    assert len(encode(Report("worker-0/a1b2c3", 12345, 123456, asks)).value) < 300


def test_no_moment_of_a_clock_is_stored() -> None:
    keys = {key for said in EXAMPLES for key in json.loads(encode(said).value)}
    kinds = {"claim", "report", "grant", "release"}
    assert keys == kinds | {"version", "worker", "seen", "asks", "epoch", "services", "in_flight"}
