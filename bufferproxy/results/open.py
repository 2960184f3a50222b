"""Settings -> the index file of the view."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bufferproxy.clock import Clock
from bufferproxy.config.addresses import SqliteLog
from bufferproxy.config.settings import Settings
from bufferproxy.database import open_database
from bufferproxy.errors import LogUnusable, Outdated
from bufferproxy.results import tables
from bufferproxy.results.sqlite_index import SqliteIndex
from bufferproxy.results.temporary import make_folder


async def open_index(settings: Settings, clock: Clock) -> SqliteIndex:
    """Beside an SQLite log, or where `storage.index` says. One that is held by another replica here, or
    damaged, or newer, is not mended but made anew elsewhere: it holds nothing that the log does not."""
    if isinstance(settings.log, SqliteLog):
        path = Path(settings.log.path).with_suffix(".index.db")
    else:
        path = Path(settings.storage.index)
    try:
        return await open_file(path, clock)
    except (LogUnusable, OSError):
        folder = await asyncio.to_thread(make_folder, "bufferproxy-index-", "index.db")
        index = await open_file(folder / "index.db", clock)
        index.folder = folder
        return index


async def open_file(path: Path, clock: Clock) -> SqliteIndex:
    """One of an older format is removed, and made anew in its place. Raises LogUnusable or OSError."""
    try:
        database = await open_database(path, tables.SCHEMA, clock=clock)
    except Outdated:
        await asyncio.to_thread(_remove, path)
        database = await open_database(path, tables.SCHEMA, clock=clock)
    try:
        return await SqliteIndex.open(database)
    except BaseException:
        await database.close()
        raise


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
