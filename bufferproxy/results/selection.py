"""Which dead letters are meant: by id, or by what they say. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from bufferproxy.config.units import parse_duration
from bufferproxy.observe.labels import DEATHS

KEYS = ("reason", "status", "path", "key", "since")

_STATUS = re.compile("[1-5]([0-9]{2}|xx)")


class Selection(NamedTuple):
    """All of what is set must hold. `status`: from, to (both included); `path`: whole segments from the
    start, `/orders` is also `/orders/7` and not `/orders2`, and "" is every path; `since`: died then or
    later, ms since the epoch.
    """

    ids: tuple[str, ...] | None = None
    reason: str | None = None
    status: tuple[int, int] | None = None
    path: str | None = None
    key: bytes | None = None
    since: int | None = None


ALL = Selection()


def selection(where: Mapping[str, str], now: float) -> Selection:
    """Of K=V pairs; `now` in seconds since the epoch. Raises ValueError with words for people."""
    unknown = [key for key in where if key not in KEYS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} cannot be asked for: take one of {', '.join(KEYS)}")
    for name, value in where.items():
        if not value:  # often a variable that is not set, and a purge must not take it for "any"
            raise ValueError(f"{name}= is empty: say which {name}, or leave it out")
    reason, status, path, key, since = (where.get(name) for name in KEYS)
    if reason is not None and reason not in DEATHS:
        raise ValueError(f"reason={reason}: nothing dies of it: take one of {', '.join(DEATHS)}")
    return Selection(
        reason=reason,
        status=None if status is None else _status(status),
        path=None if path is None else _path(path),
        key=None if key is None else key.encode("utf-8", "surrogateescape"),
        since=None if since is None else _since(since, now),
    )


def _status(text: str) -> tuple[int, int]:
    if not _STATUS.fullmatch(text):
        raise ValueError(f"status={text}: write a status like 500, or a class like 5xx")
    return (int(text[0]) * 100, int(text[0]) * 100 + 99) if text.endswith("xx") else (int(text), int(text))


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError(f"path={text}: a path begins with a slash, like /orders")
    return text.partition("?")[0].removesuffix("/")


def _since(text: str, now: float) -> int:
    """A duration means so long ago."""
    try:
        return int((now - parse_duration(text)) * 1000)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"since={text}: write a duration like 1h, or a time like 2026-01-31T12:00Z"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
