"""The local disk: what a default follows from it, and which settings can never hold on it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from bufferproxy.config.addresses import SqliteLog
from bufferproxy.config.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufferproxy.config.settings import Settings

MOST_RESERVED = 256 << 20
"""Bytes of `storage.reserve` unless it is set, or ..."""
SHARE_RESERVED = 20
"""... this part of the disk, one twentieth, where that is less."""


class Disk(NamedTuple):
    """`path`: of what lies on it; `total`: its bytes."""

    path: str
    total: int


def disk_of(settings: Settings) -> Disk | None:
    """That of the SQLite log, or of the local index with a Kafka log; None when nobody can tell."""
    log = settings.log
    path = log.path if isinstance(log, SqliteLog) else settings.storage.index
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return Disk(path, found.f_blocks * found.f_frsize)


def with_reserve(settings: Settings, disk: Disk | None) -> Settings:
    """With the default of `storage.reserve` that fits the disk, unless somebody has set it. Pure."""
    if "reserve" in settings.storage.model_fields_set or disk is None:
        return settings
    reserve = min(MOST_RESERVED, disk.total // SHARE_RESERVED >> 10 << 10)
    return settings.model_copy(update={"storage": settings.storage.model_copy(update={"reserve": reserve})})


def never_held(settings: Settings, disk: Disk | None) -> Iterator[str]:
    """`key: message` of each limit that is exceeded from the start, whatever comes. Pure."""
    if disk is not None and isinstance(settings.log, SqliteLog):
        yield from _beyond(settings, disk)
    for name, service in settings.services.items():
        body, most = service.body, service.backlog.bytes
        if body > most:
            yield (
                f"services.{name}.body: {format_size(body)} is more than backlog.bytes ({format_size(most)}):"
                " a body between the two is always refused"
            )


def _beyond(settings: Settings, disk: Disk) -> Iterator[str]:
    reserve = settings.storage.reserve
    if reserve >= disk.total:
        yield (
            f"storage.reserve: {format_size(reserve)} is more than all of the disk of {disk.path}, which has"
            f" {_about(disk.total)}: no request will be accepted"
        )
    for name, service in settings.services.items():
        most, room = service.backlog.bytes, disk.total - reserve
        if "bytes" in service.backlog.model_fields_set and most > room > 0:
            yield (
                f"services.{name}.backlog.bytes: {format_size(most)} is more than the disk of {disk.path} has"
                f" beside storage.reserve, {_about(room)}: the disk will be full before the backlog is"
            )


def _about(size: int) -> str:
    return f"{size >> 20} MiB" if size < 10 << 30 else f"{size >> 30} GiB"
