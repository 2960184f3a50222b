from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

from bufferproxy import translate
from bufferproxy.config.load import load
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.observe.events import Events
from bufferproxy.results.dead_index import DeadIndex
from bufferproxy.results.dead_view import DeadView
from bufferproxy.stand import Stand
from bufferproxy.testing.clock import FakeClock


async def test_alone_it_begins_with_the_whole_rate_and_no_tokens(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("services: {a: {to: http://127.0.0.1:9, rate: 50/s, burst: 4}}\n")
    settings = load(str(file), flags=None, environ={}).settings
    clock = FakeClock()
    log = MemoryLog(Memory(), clock)
    await log.ensure(translate.topics(settings), create=True)
    dead = DeadView(log, cast("DeadIndex", None), {}, clock)
    stand = Stand("a", settings, log, clock, Events(), dead)
    draining = asyncio.create_task(await stand.start_draining(log))
    await clock.advance(0)
    assert stand.pacer.ceiling == 50.0
    assert not stand.pacer.turns_now()
    draining.cancel()
    await asyncio.wait([draining])
    await stand.close()
