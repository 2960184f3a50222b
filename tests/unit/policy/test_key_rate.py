from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufferproxy.policy import key_rate
from bufferproxy.policy.key_rate import KeyRate


def test_a_key_waits_for_its_next_turn_and_others_do_not() -> None:
    rate = KeyRate(5.0)
    assert rate.wait(b"a", 10.0) == 0.0
    rate.sent(b"a", 10.0)
    assert rate.wait(b"a", 10.05) == pytest.approx(0.15)
    assert rate.wait(b"b", 10.05) == 0.0
    assert rate.wait(b"a", 10.2) == pytest.approx(0.0)


def test_who_has_no_key_is_not_held_back() -> None:
    rate = KeyRate(1.0)
    rate.sent(None, 0.0)
    assert rate.wait(None, 0.0) == 0.0


def test_keys_whose_time_has_come_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_rate, "MANY", 10)
    rate = KeyRate(1.0)
    for n in range(1000):
        rate.sent(b"%d" % n, n / 10)
    assert len(rate._free_at) <= 20
    assert rate.wait(b"999", 99.9) == pytest.approx(1.0)


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.floats(0, 0.3)), max_size=60))
def test_two_sends_of_a_key_are_an_interval_apart(steps: list[tuple[bytes, float]]) -> None:
    rate, now, last = KeyRate(4.0), 0.0, dict[bytes, float]()
    for key, pause in steps:
        now += pause
        if rate.wait(key, now) == 0.0:
            assert now - last.get(key, -9.0) >= 0.25 - 1e-9
            rate.sent(key, now)
            last[key] = now


def test_it_shows_its_numbers() -> None:
    rate = KeyRate(5.0)
    rate.sent(b"a", 0.0)
    assert repr(rate) == "<KeyRate 5/s, 1 keys>"
