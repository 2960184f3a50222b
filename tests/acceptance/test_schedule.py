"""When a request is sent: not before its time, not after it has expired, and sooner than others."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.processes import wait_until

if TYPE_CHECKING:
    from bufferproxy.testing.promises import Arrival
    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance


def _delayed(target: bytes, delay: bytes, *more: tuple[bytes, bytes], key: bytes = b"") -> Sent:
    return Sent(target, key=key, headers=((b"Bufferproxy-Delay", delay), *more))


async def _status(load: Load, id_: str, *, until: str = "") -> Any:
    """The status of a request; with `until`, once it is in that state (long-polled)."""
    prefer = ((b"Prefer", b"wait=30"),) if until else ()
    asked = Sent(b"/_bufferproxy/requests/" + id_.encode(), method=b"GET", headers=prefer)
    status = (await load.one(asked)).json
    assert until in ("", status["state"])
    return status


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


def _first(arrivals: list[Arrival]) -> dict[str, float]:
    """When each id arrived first."""
    found: dict[str, float] = {}
    for arrival in sorted(arrivals):
        found.setdefault(arrival.id, arrival.at)
    return found


async def test_a_delayed_request_is_queued_until_its_time_and_not_sent_before(world: World) -> None:
    await asyncio.to_thread(world.start)
    async with Load(world.proxy.url) as load:
        plain = await load.one(Sent(b"/now"))
        told = await load.one(_delayed(b"/later", b"7s"))
        assert told.status == 202
        assert 6.0 < told.json["eta_seconds"] <= 7.0
        status = await _status(load, told.id)
        assert (status["state"], status["attempts"]) == ("queued", 0)
        due = _seconds(status["next_attempt_at"])
        assert due - _seconds(status["accepted_at"]) == pytest.approx(7.0, abs=0.002)
        assert 4.0 < status["eta_seconds"] <= 7.0
        wait_until(lambda: world.sum("backlog_requests", state="delayed") == 1, "it to be seen")
        # It has gone on to the next tier by then, and lies elsewhere.
        wait_until(lambda: time.time() > due - 2.0, "most of its time to be over")
        status = await _status(load, told.id)
        assert (status["state"], _seconds(status["next_attempt_at"])) == ("queued", due)
        assert {arrival.id for arrival in world.recorder.arrivals()} == {plain.id}
        status = await _status(load, told.id, until="delivered")
        assert (status["attempts"], status["next_attempt_at"]) == (1, None)
        begun = _seconds(status["finished_at"])
        assert due <= begun < due + 1.0
