"""The end of the log proves that nobody acts on anything, or it does not."""

from __future__ import annotations

import pytest

from bufferproxy.rate.past import LOOK_BACK, nothing_lasts
from bufferproxy.rate.records import (
    Claim,
    Grant,
    Read,
    Release,
    Report,
    Share,
    Terms,
    Unreadable,
    decode,
    encode,
)

SHARE = Share(10.0, 1, 5, 1)
LAST = Release("a", {}, 10)


def granted(*workers: str) -> Grant:
    return Grant(1, {"auth": 3}, {"auth": Terms(10.0, dict.fromkeys(workers, SHARE))})


def placed(*said: Read, first: int = 10) -> list[tuple[int, Read]]:
    return list(enumerate(said, first))


@pytest.mark.parametrize(
    "last",
    [
        [LAST],
        [Report("b", 1, 5, {}), LAST],
        [granted("b"), Report("a", 1, 5, {}), granted("a"), LAST],
        [Claim("b", ("auth",)), Claim("a", ("auth",)), granted(), Release("a", {"auth": 1}), LAST],
    ],
)
def test_the_last_word_of_one_that_knew_itself_alone_proves_it(last: list[Read]) -> None:
    assert nothing_lasts(placed(*last))


@pytest.mark.parametrize(
    "last",
    [
        [],
        [Report("a", 1, 5, {}), granted("a")],
        [Release("a", {}, 10), Report("b", 1, 5, {})],
        [Report("a", 1, 5, {}), Release("a", {})],
        [Report("a", 1, 5, {}), Release("a", {"auth": 1}, 10)],
        [Report("a", 1, 5, {}), Report("b", 1, 5, {}), LAST],
        [Report("a", 1, 5, {}), Claim("b", ("auth",)), LAST],
        [Report("a", 1, 5, {}), granted("a", "b"), LAST],
        [Report("a", 1, 5, {}), Unreadable("version 99"), LAST],
        [Report("a", 1, 5, {}), Release("a", {}, 8)],
    ],
)
def test_nothing_else_does(last: list[Read]) -> None:
    assert not nothing_lasts(placed(*last))


def test_since_when_it_was_alone_is_stored_and_a_former_version_did_not_say() -> None:
    assert decode(encode(LAST).value) == LAST
    assert decode(encode(Release("a", {"auth": 2})).value) == Release("a", {"auth": 2}, None)
    assert LOOK_BACK > 10
