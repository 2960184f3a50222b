"""Who asks what became of requests, however often and with whatever ids, disturbs nobody."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Self

import pytest

from bufferproxy import ids
from bufferproxy.log.survey import EVERY
from bufferproxy.testing.load import Load, Sent

if TYPE_CHECKING:
    from bufferproxy.testing.processes import Bufferproxy
    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance


def _forged(id_: str, *, offset: int) -> str:
    """Well formed, of the same partition as `id_`, and never given out."""
    identity = ids.parse_id(id_)
    assert identity is not None
    return ids.id_of(identity._replace(offset=offset, nonce=random.randbytes(12)))


async def _given_out(world: World, target: bytes, count: int) -> list[str]:
    async with Load(world.proxy.url, connections=20) as load:
        told = await load.send(Sent(target) for _ in range(count))
    assert all(one.accepted for one in told)
    return [one.id for one in told]


class Readiness:
    """What `/readyz` says of a process, looked at all the time."""

    def __init__(self, process: Bufferproxy) -> None:
        self._process = process
        self._over = False
        self.said: list[bool] = []

    def _look(self) -> None:
        while not self._over:
            self.said.append(self._process.ready)
            time.sleep(0.05)

    async def __aenter__(self) -> Self:
        self._looking = asyncio.create_task(asyncio.to_thread(self._look))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await self._looking


def _operations(process: Bufferproxy, *names: str) -> float:
    samples = process.metrics()
    name = "bufferproxy_log_operation_duration_seconds_count"
    return sum(samples[f'{name}{{operation="{operation}"}}'] for operation in names)


@pytest.mark.kafka
async def test_status_requests_of_any_kind_are_answered_and_ask_nothing_of_kafkas_administration(
    kafka_world: World,
) -> None:
    """What measures the log, and the ping, are the only ones that ask; both keep their pace."""
    world = await asyncio.to_thread(kafka_world.start)
    ended = await _given_out(world, b"/ended", 200)
    await asyncio.to_thread(world.recorder.await_ids, ended)
    await asyncio.to_thread(world.await_settled)
    world.recorder.down()
    queued = await _given_out(world, b"/queued", 400)
    proxy, first = world.proxy, ids.parse_id(queued[0])
    assert first is not None
    kinds = (
        *((id_, {200}) for id_ in random.sample(ended, 50)),
        *((id_, {200}) for id_ in random.sample(queued, 50)),
        *((_forged(id_, offset=number), {410}) for number, id_ in enumerate(ended[:20])),
        *((_forged(queued[0], offset=first.offset + number), {404}) for number in range(20)),
        *((_forged(id_, offset=random.randrange(10**6, 10**12)), {404}) for id_ in queued[:20]),
    )
    began, before = time.monotonic(), _operations(proxy, "lag", "ping")
    right = dict(kinds)
    async with Readiness(proxy) as readiness, Load(proxy.url, connections=64) as load:
        for rate, count in ((50, 150), (500, 1000)):
            await load.send(
                (
                    Sent(b"/_bufferproxy/requests/" + id_.encode(), method=b"GET")
                    for id_, _ in random.choices(kinds, k=count)
                ),
                rate=rate,
            )
    asked, elapsed = _operations(proxy, "lag", "ping") - before, time.monotonic() - began
    wrong = [
        (one.sent.target, one.status)
        for one in load.told
        if one.status not in right[one.sent.target.rpartition(b"/")[2].decode()]
    ]
    assert wrong == []
    assert set(readiness.said) == {True}
    assert asked <= elapsed * (1 / EVERY + 1) + 3
