"""What fails while a replica goes down keeps nothing else from its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from bufferproxy.config.load import load
from bufferproxy.errors import LogUnusable
from bufferproxy.wiring import Replica

if TYPE_CHECKING:
    from pathlib import Path

    from bufferproxy.rate.talk import Talk
    from bufferproxy.stand import Stand


class Stopping:
    """A stand or a talk whose end takes some turns of the loop, and may fail then."""

    def __init__(self, turns: int, *, fails: bool = False) -> None:
        self.stopped = False
        self._turns = turns
        self._fails = fails

    async def stop(self) -> None:
        for _ in range(self._turns):
            await asyncio.sleep(0)
        if self._fails:
            raise LogUnusable("a bug")
        self.stopped = True

    async def stop_draining(self, grace: float) -> None:
        assert grace > 0.0
        await self.stop()


@pytest.mark.parametrize("failing", ["talk", "service"])
async def test_a_service_is_stopped_in_order_though_another_or_the_talk_fails(
    tmp_path: Path, failing: str
) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("services: {a: {to: http://127.0.0.1:9, rate: 50/s}}\n")
    replica = Replica(load(str(file), environ={}), "worker")
    slow = Stopping(9)
    replica.talk = cast("Talk", Stopping(1, fails=failing == "talk"))
    replica.stands = cast("list[Stand]", [Stopping(1, fails=failing == "service"), slow])
    with pytest.raises(LogUnusable):
        await replica._stop_draining()
    assert slow.stopped
