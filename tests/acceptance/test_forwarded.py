"""What another proxy before this one says of a request's way, and who is believed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bufferproxy.testing.load import Load, Sent
from bufferproxy.testing.processes import get, wait_until
from bufferproxy.testing.raw_service import RawService, ok, replying
from bufferproxy.testing.world import SERVICE

if TYPE_CHECKING:
    from bufferproxy.testing.world import World

pytestmark = pytest.mark.acceptance

SENT = (
    b"POST /in/x HTTP/1.1\r\nHost: origin:8443\r\nPrefer: respond-async\r\n"
    b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Proto: https\r\n"
    b"X-Forwarded-Host: shop.example\r\nX-Forwarded-Prefix: /edge\r\n\r\n"
)
NAMES = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-prefix")
WAY = b"203.0.113.9, 127.0.0.1"


@pytest.mark.parametrize(
    ("proxies", "told", "client"),
    [
        (None, [WAY, b"https", b"shop.example", b"/edge/in"], "203.0.113.9"),
        (["10.0.0.0/8"], [WAY, b"http", b"origin:8443", b"/in"], "127.0.0.1"),
    ],
    ids=["from loopback, by default", "from somebody else"],
)
async def test_a_proxy_before_us_is_believed_when_it_is_trusted(
    sqlite_world: World, proxies: list[str] | None, told: list[bytes], client: str
) -> None:
    world = sqlite_world
    if proxies is not None:
        world.settings["trusted_proxies"] = proxies
    async with RawService(replying(ok(status=500))) as service:
        match, retry = {"path": "/in", "strip": True}, {"attempts": 1}
        await asyncio.to_thread(
            world.start, to=service.url, match=match, order="key", key="client", retry=retry
        )
        async with Load(world.proxy.url) as load:
            assert (await load.one(Sent(b"/in/x", raw=SENT))).accepted
        received = (await service.arrived(1))[0]
        assert received.line == b"POST /x HTTP/1.1"
        assert [value for name in NAMES for value in received.values(name)] == told
    # Its ordering key is the address of the client: by it the dead letter is found.
    await asyncio.to_thread(wait_until, lambda: world.sum("dead_letters") == 1, "a dead letter", every=0.2)
    listed = get(f"{world.proxy.admin}/api/v1/services/{SERVICE}/dead?key={client}")
    assert listed["count"] == 1
