"""A service that is down rests: nothing is lost, no attempt is used up, and it is back at work by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.promises import duplicates, nothing_lost

if TYPE_CHECKING:
    from collections.abc import Callable

    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance


@pytest.mark.timeout(240)
async def test_a_service_that_was_down_for_long_gets_everything_and_no_attempt_is_used_up(
    world: World, times: Callable[[int, int], int]
) -> None:
    await asyncio.to_thread(world.start, rate="1000/s", retry={"attempts": 2})
    async with Load(world.proxy.url, connections=20) as load:
        before = await load.send(Sent(b"/before/%d" % n) for n in range(200))
        await asyncio.to_thread(world.recorder.await_count, 200)
        await asyncio.to_thread(world.await_settled)
        world.recorder.down()
        # The load itself is the clock: so many requests at so many a second.
        during = await load.send((Sent(b"/during/%d" % n) for n in range(20 * times(15, 60))), rate=20)
        tries = world.sum("delivery_attempts_total", result="connect")
        assert tries > 0
        assert world.sum("throttled_seconds_total", reason="retry_after") > 0.8 * times(15, 60)
        assert world.sum("requests_finished_total") == 200

        world.recorder.up()
        ids = [one.id for one in (*before, *during) if one.accepted]
        assert len(ids) == 200 + 20 * times(15, 60)
        arrivals = await asyncio.to_thread(world.recorder.await_ids, ids)
        await asyncio.to_thread(world.await_settled)
        assert nothing_lost(ids, arrivals) == []
        assert duplicates(arrivals) == 0
        assert {arrival.attempt for arrival in arrivals} == {1}
        assert world.sum("requests_finished_total", outcome="delivered") == len(ids)
        for one in during[:: len(during) // 10]:
            status = (await load.one(Sent(b"/_bufferproxy/requests/" + one.id.encode(), method=b"GET"))).json
            assert (status["state"], status["attempts"]) == ("delivered", 1)
    # Backing off up to 5 s, one probe at a time: never a hammering.
    assert tries <= 20 + times(15, 60)
