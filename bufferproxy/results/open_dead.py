"""Settings -> the index file of dead letters."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bufferproxy.clock import Clock
from bufferproxy.config.addresses import SqliteLog
from bufferproxy.config.settings import Settings
from bufferproxy.database import open_database
from bufferproxy.errors import LogUnusable
from bufferproxy.results.dead_index import SCHEMA, DeadIndex
from bufferproxy.results.temporary import make_folder


async def open_dead_index(settings: Settings, clock: Clock) -> DeadIndex:
    """Beside an SQLite log, or beside `storage.index`. One that is held by another replica here, or damaged,
    is not mended but made anew elsewhere: it holds nothing that the log does not."""
    log = settings.log
    path = Path(log.path if isinstance(log, SqliteLog) else settings.storage.index).with_suffix(".dead.db")
    try:
        return DeadIndex(await open_database(path, SCHEMA, clock=clock))
    except (LogUnusable, OSError):
        folder = await asyncio.to_thread(make_folder, "bufferproxy-dead-", "dead.db")
        index = DeadIndex(await open_database(folder / "dead.db", SCHEMA, clock=clock))
        index.folder = folder
        return index
