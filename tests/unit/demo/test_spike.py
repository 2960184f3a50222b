from __future__ import annotations

import pytest

from bufferproxy.demo.spike import Fate, fate_of, order
from bufferproxy.http1.reply import Failure, Kind, Phase, Reply


def reply(status: int, *lines: bytes) -> Reply:
    return Reply(status, b"\r\n".join((b"HTTP/1.1 %d X" % status, *lines, b"")), b"")


@pytest.mark.parametrize(
    ("result", "fate"),
    [
        (reply(200), (Fate.SERVED, "")),
        (reply(202, b"bufferproxy-id: abc"), (Fate.ACCEPTED, "abc")),
        (reply(503), (Fate.REFUSED, "")),
        (reply(500), (Fate.OTHER, "")),
        (Failure(Phase.FIRST_BYTE, Kind.TIMEOUT, sent=True, detail=""), (Fate.TIMEOUT, "")),
        (Failure(Phase.FIRST_BYTE, Kind.RESET, sent=True, detail=""), (Fate.RESET, "")),
        (Failure(Phase.FIRST_BYTE, Kind.CLOSED, sent=True, detail=""), (Fate.RESET, "")),
        (Failure(Phase.CONNECT, Kind.REFUSED, sent=False, detail=""), (Fate.RESET, "")),
        (Failure(Phase.REPLY, Kind.GARBAGE, sent=True, detail=""), (Fate.OTHER, "")),
    ],
)
def test_what_a_caller_got_has_one_name(result: Reply | Failure, fate: tuple[Fate, str]) -> None:
    assert fate_of(result) == fate


def test_a_202_without_an_id_is_no_acceptance() -> None:
    assert fate_of(reply(202)) == (Fate.OTHER, "")


def test_an_order_says_how_long_it_is() -> None:
    head, body = order(7, b"127.0.0.1:80")
    assert head.startswith(b"POST /orders HTTP/1.1\r\nHost: 127.0.0.1:80\r\n")
    assert b"Content-Length: %d\r\n\r\n" % len(body) in head
