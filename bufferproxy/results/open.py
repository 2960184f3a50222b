"""Settings -> the index file of the view."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bufferproxy.clock import Clock
from bufferproxy.config.addresses import SqliteLog
from bufferproxy.config.settings import Settings
from bufferproxy.database import open_database
from bufferproxy.errors import LogUnusable
from bufferproxy.results.sqlite_index import SCHEMA, SqliteIndex


async def open_index(settings: Settings, clock: Clock) -> SqliteIndex:
    """Beside an SQLite log, or where `storage.index` says. One that is held by another replica here, or
    damaged, is not mended but made anew elsewhere: it holds nothing that the log does not."""
    if isinstance(settings.log, SqliteLog):
        path = Path(settings.log.path).with_suffix(".index.db")
    else:
        path = Path(settings.storage.index)
    try:
        return SqliteIndex(await open_database(path, SCHEMA, clock=clock))
    except (LogUnusable, OSError):
        folder = Path(tempfile.mkdtemp(prefix="bufferproxy-index-"))
        return SqliteIndex(await open_database(folder / "index.db", SCHEMA, clock=clock))
