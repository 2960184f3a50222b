from __future__ import annotations

from pathlib import Path
from typing import cast

from bufferproxy import translate
from bufferproxy.config.load import load
from bufferproxy.log.memory import Memory, MemoryLog
from bufferproxy.log.topics import topics_of
from bufferproxy.observe.events import Events
from bufferproxy.results.dead_index import DeadIndex
from bufferproxy.results.dead_view import DeadView
from bufferproxy.stand import Stand
from bufferproxy.testing.clock import FakeClock


async def test_the_rate_is_shared_by_the_partitions_that_there_are_not_by_those_in_the_settings(
    tmp_path: Path,
) -> None:
    """Somebody else may have made the topics, or `kafka.partitions` was changed afterwards."""
    file = tmp_path / "f.yaml"
    file.write_text(
        "log: kafka://127.0.0.1:9\nkafka: {partitions: 12}\n"
        "services: {a: {to: http://127.0.0.1:9, rate: 50/s, burst: 4}}\n"
    )
    settings = load(str(file), flags=None, environ={}).settings
    clock = FakeClock()
    log = MemoryLog(Memory(), clock)
    names = translate.names(settings, "a")
    topics = topics_of(names, partitions=24, body=99, reply=99, keep_results=60, keep_dead=60)
    await log.ensure(topics, create=True)
    dead = DeadView(log, cast("DeadIndex", None), {}, clock)
    stand = Stand("a", settings, log, clock, Events(), dead)
    draining = await stand.start_draining(log)
    draining.close()
    assert stand.pacer.ceiling == 50.0
    await stand.close()
