"""Retries: through the delay tiers, over a crash, and to a known end."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest

from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.processes import wait_until

if TYPE_CHECKING:
    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance


async def _status(load: Load, id_: str, *, until: str = "") -> Any:
    """The status of a request; with `until`, once it is in that state (long-polled)."""
    prefer = ((b"Prefer", b"wait=30"),) if until else ()
    asked = Sent(b"/_bufferproxy/requests/" + id_.encode(), method=b"GET", headers=prefer)
    status = (await load.one(asked)).json
    assert until in ("", status["state"])
    return status


async def test_a_5xx_is_tried_again_after_backoff_until_it_is_delivered(world: World) -> None:
    retry = {"attempts": 4, "first": "500ms", "jitter": "none"}
    await asyncio.to_thread(world.start, retry=retry)
    world.recorder.mode(first=[500, 502])
    async with Load(world.proxy.url) as load:
        told = await load.one(Sent(b"/x", b"body"))
        status = await _status(load, told.id, until="delivered")
        assert status["attempts"] == 3
        assert status["response"]["status"] == 200
    arrivals = sorted(world.recorder.arrivals())
    assert [(arrival.id, arrival.attempt) for arrival in arrivals] == [(told.id, n) for n in (1, 2, 3)]
    first, second, third = (arrival.at for arrival in arrivals)
    # Up to 0.25 s early counts as due.
    assert second - first >= 0.5 - 0.25
    assert third - second >= 1.0 - 0.25
    assert world.sum("retries_scheduled_total") == 2


async def test_a_request_that_waits_for_its_retry_survives_kill_9_and_is_sent_at_its_time(
    world: World,
) -> None:
    await asyncio.to_thread(world.start, retry={"attempts": 3, "first": "12s", "jitter": "none"})
    world.recorder.mode(first=[500])
    async with Load(world.proxy.url) as load:
        ids = [one.id for one in await load.send(Sent(b"/x/%d" % n) for n in range(20))]
        await asyncio.to_thread(world.recorder.await_count, 20)
        due = wait_until(
            lambda: world.sum("backlog_requests", state="delayed") >= 20 and time.time(), "tiers"
        )
        status = await _status(load, ids[0])
        assert (status["state"], status["attempts"]) == ("retrying", 1)
        assert status["next_attempt_at"] is not None
        for process in world.processes:
            process.kill()
        for process in world.processes:
            await asyncio.to_thread(process.start)
        assert time.time() < due + 11.0, "restarted too late to show anything"
        for id_ in ids:
            assert (await _status(load, id_, until="delivered"))["attempts"] == 2
    # What was not committed at the kill came a first time once more: each attempt's first arrival counts.
    arrived: dict[tuple[str, int], float] = {}
    for arrival in sorted(world.recorder.arrivals()):
        arrived.setdefault((arrival.id, arrival.attempt), arrival.at)
    assert set(arrived) == {(id_, attempt) for id_ in ids for attempt in (1, 2)}
    waited = [arrived[id_, 2] - arrived[id_, 1] for id_ in ids]
    assert min(waited) >= 12.0 - 0.25
    assert max(waited) < 12.0 + 3.0


async def test_what_keeps_its_place_between_attempts_is_counted_on_by_who_takes_over(world: World) -> None:
    """With an order a retry is no record of its own: the commit tells of it."""
    retry = {"attempts": 3, "first": "5s", "jitter": "none", "max": "5s"}
    await asyncio.to_thread(world.start, order="key", retry=retry)
    world.recorder.mode(status=500)
    async with Load(world.proxy.url) as load:
        told = await load.one(Sent(b"/x"))
        for attempts in (1, 2):
            await asyncio.to_thread(world.recorder.await_count, attempts)
            await asyncio.to_thread(
                wait_until, lambda: world.sum("retries_scheduled_total") >= 1, "its answer"
            )
            await asyncio.to_thread(world.worker.terminate)
            await asyncio.to_thread(world.worker.start)
        status = await _status(load, told.id, until="dead")
    assert status["attempts"] == 3
    arrivals = sorted(world.recorder.arrivals())
    assert [arrival.attempt for arrival in arrivals] == [1, 2, 3]
    assert min(late.at - early.at for early, late in itertools.pairwise(arrivals)) >= 5.0


async def test_retry_after_rests_the_whole_service_and_uses_no_attempt_up(world: World) -> None:
    await asyncio.to_thread(world.start, retry={"attempts": 1}, concurrency=4)
    world.recorder.mode(status=503, headers="Retry-After: 3\r\n")
    async with Load(world.proxy.url) as load:
        told = await load.send(Sent(b"/x/%d" % n) for n in range(200))
        await asyncio.to_thread(world.recorder.await_count, 1)
        world.recorder.mode(status=200, headers="")
        ids = [one.id for one in told if one.accepted]
        await asyncio.to_thread(world.recorder.await_ids, ids)
        await asyncio.to_thread(world.await_settled)  # those that were refused come last
        arrivals = sorted(world.recorder.arrivals())
        refused = len(arrivals) - 200
        assert 1 <= refused <= 4, "only what was in flight already may be refused as well"
        last_refused = arrivals[refused - 1].at
        assert arrivals[refused].at - last_refused >= 3.0 - 0.05
        status = await _status(load, arrivals[0].id, until="delivered")
        assert status["attempts"] == 1
        assert [one.attempt for one in arrivals if one.id == arrivals[0].id] == [1, 2]


async def test_attempts_that_are_used_up_end_dead_with_the_reason_and_the_last_reply(world: World) -> None:
    await asyncio.to_thread(world.start, retry={"attempts": 3, "first": "100ms", "jitter": "none"})
    world.recorder.mode(status=500, body="no use")
    async with Load(world.proxy.url) as load:
        told = await load.one(Sent(b"/x"))
        status = await _status(load, told.id, until="dead")
        assert status["attempts"] == 3
        assert status["error"].startswith("attempts")
        assert status["response"]["status"] == 500
        reply = await load.one(Sent(b"/_bufferproxy/requests/%b/response" % told.id.encode(), method=b"GET"))
        assert (reply.status, reply.body) == (500, b"no use")
        assert world.sum("dead_letters_added_total", reason="attempts") == 1
        assert world.sum("requests_finished_total", outcome="dead") == 1

        # Who waits gets the last reply.
        held = await load.one(Sent(b"/y", headers=((b"Prefer", b"wait=20"),)))
        assert (held.status, held.body) == (500, b"no use")


async def test_a_404_is_rejected_at_once_with_its_reply(world: World) -> None:
    await asyncio.to_thread(world.start)
    world.recorder.mode(status=404, body="not here")
    async with Load(world.proxy.url) as load:
        told = await load.one(Sent(b"/x"))
        status = await _status(load, told.id, until="rejected")
        assert (status["attempts"], status["response"]["status"]) == (1, 404)
        reply = await load.one(Sent(b"/_bufferproxy/requests/%b/response" % told.id.encode(), method=b"GET"))
        assert (reply.status, reply.body) == (404, b"not here")
        assert world.sum("requests_finished_total", outcome="rejected") == 1
        assert world.sum("dead_letters_added_total", reason="rejected") == 1


async def test_a_redirect_is_rejected_and_seen_where_it_does_not_count_as_delivered(world: World) -> None:
    await asyncio.to_thread(world.start, delivered=["2xx", 409], retry={"on": [503]})
    async with Load(world.proxy.url) as load:
        for mode, state in ((302, "rejected"), (500, "rejected"), (409, "delivered"), (204, "delivered")):
            world.recorder.mode(status=mode, body="")
            told = await load.one(Sent(b"/%d" % mode))
            status = await _status(load, told.id, until=state)
            assert (status["attempts"], status["response"]["status"]) == (1, mode)
        assert world.sum("requests_finished_total", outcome="rejected") == 2
        assert world.sum("dead_letters_added_total", reason="rejected") == 2


async def test_nobody_is_held_for_a_service_that_is_known_to_rest_for_longer(sqlite_world: World) -> None:
    world = sqlite_world
    await asyncio.to_thread(world.start)
    world.recorder.mode(status=503, headers="Retry-After: 40\r\n")
    async with Load(world.proxy.url) as load:
        first = await load.one(Sent(b"/first"))
        await asyncio.to_thread(world.recorder.await_count, 1)
        second = await load.one(Sent(b"/second"))
        await asyncio.to_thread(
            wait_until,
            lambda: world.sum("throttled_seconds_total", reason="retry_after") > 0,
            "the rest to be known",
        )
        assert (await _status(load, second.id))["eta_seconds"] > 20.0
        held = await load.one(Sent(b"/x", headers=((b"Prefer", b"wait=3"),)))
        assert held.status == 202
        assert held.json["eta_seconds"] > 20.0
        refused = await load.one(Sent(b"/y", method=b"GET"))
        assert (refused.status, refused.json["type"]) == (503, "urn:bufferproxy:problem:wait-too-long")
        assert max(held.at - held.began, refused.at - refused.began) < 2.0
    assert {arrival.id for arrival in world.recorder.arrivals()} == {first.id}
