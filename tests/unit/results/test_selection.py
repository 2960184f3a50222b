from __future__ import annotations

import pytest

from bufferproxy.results.selection import ALL, KEYS, Selection, selection

NOW = 1_769_860_800.0  # 2026-01-31T12:00:00Z


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ({}, ALL),
        ({"reason": "attempts"}, Selection(reason="attempts")),
        ({"status": "503"}, Selection(status=(503, 503))),
        ({"status": "5xx"}, Selection(status=(500, 599))),
        ({"path": "/orders/"}, Selection(path="/orders")),
        ({"path": "/orders?a=b"}, Selection(path="/orders")),
        ({"path": "/"}, Selection(path="")),
        ({"path": "//"}, Selection(path="/")),
        ({"key": "größe"}, Selection(key="größe".encode())),
        ({"since": "1h"}, Selection(since=int((NOW - 3600) * 1000))),
        ({"since": "2026-01-31T12:00:00Z"}, Selection(since=int(NOW * 1000))),
        ({"since": "2026-01-31T13:00:00+01:00"}, Selection(since=int(NOW * 1000))),
        ({"since": "2026-01-31T12:00"}, Selection(since=int(NOW * 1000))),
        ({"reason": "crash", "status": "404"}, Selection(reason="crash", status=(404, 404))),
    ],
)
def test_pairs_say_which_letters_are_meant(where: dict[str, str], wanted: Selection) -> None:
    assert selection(where, NOW) == wanted


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"state": "dead"}, "'state' cannot be asked for"),
        ({"status": "600"}, "write a status like 500"),
        ({"status": "5x"}, "write a status like 500"),
        ({"reason": "bogus"}, "reason=bogus: .* take one of attempts, timeout, "),
        ({"path": "orders"}, "path=orders: a path begins with a slash"),
        ({"path": "?x"}, "a path begins with a slash"),
        ({"since": "yesterday"}, "write a duration like 1h"),
    ],
)
def test_what_cannot_be_meant_is_said_in_words(where: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        selection(where, NOW)


@pytest.mark.parametrize("key", KEYS)
def test_an_empty_value_is_not_any_value(key: str) -> None:
    with pytest.raises(ValueError, match=f"{key}= is empty"):
        selection({key: ""}, NOW)
