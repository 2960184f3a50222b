"""Who is held gets the service's answer as soon as it is there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.load import Load, Sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from bufferproxy.testing.load import Told
    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance

HOLD = 10
"""Seconds that a caller is held. One whose answer is missed waits for all of them, and gets none."""

CALLS = (
    Sent(b"/get", method=b"GET"),
    Sent(b"/post", b"x", headers=((b"Prefer", b"wait=%d" % HOLD),)),
)


def _late(told: list[Told]) -> list[tuple[bytes, int, float]]:
    """Those that were not answered at once by the service."""
    return [
        (one.sent.method, one.status, one.at - one.began)
        for one in told
        if one.status != 200 or one.at - one.began > HOLD / 2
    ]


async def test_an_end_that_comes_before_the_acknowledgement_is_what_a_held_caller_gets(world: World) -> None:
    """The proxy hears half a second late that a request is stored; the service has answered it long before."""
    for process in ("run", "proxy"):
        world.mutants[process] = "late-acknowledgement"
    await asyncio.to_thread(world.start, safe_methods=f"wait {HOLD}s")
    async with Load(world.proxy.url, connections=10) as load:
        assert _late(await load.send(CALLS[n % 2] for n in range(40))) == []


@pytest.mark.kafka
async def test_no_held_caller_misses_the_answer_of_a_fast_service(
    kafka_world: World, times: Callable[[int, int], int]
) -> None:
    """Proxy and worker are processes of their own: now and then an end is read before the acknowledgement."""
    world = await asyncio.to_thread(kafka_world.start, safe_methods=f"wait {HOLD}s")
    async with Load(world.proxy.url, connections=4) as load:
        assert _late(await load.send(CALLS[n % 2] for n in range(times(300, 20_000)))) == []
