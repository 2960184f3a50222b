"""Who waits for an id: callers that are held, long polls, event streams."""

from __future__ import annotations

from collections.abc import Callable, KeysView

from bufferproxy.records import Change

Watcher = Callable[[Change], None]
"""Told every change of the id, on the loop, until the end or until it stops watching. Must not raise."""


class Watchers:
    def __init__(self) -> None:
        self._of: dict[str, list[Watcher]] = {}

    def watch(self, id_: str, watcher: Watcher) -> None:
        self._of.setdefault(id_, []).append(watcher)

    def unwatch(self, id_: str, watcher: Watcher) -> None:
        """Harmless when it does not watch (any more)."""
        watching = self._of.get(id_)
        if watching and watcher in watching:
            watching.remove(watcher)
            if not watching:
                del self._of[id_]

    def tell(self, change: Change) -> None:
        watching = self._of.get(change.id)
        if watching is None:
            return
        if change.state.ended:
            del self._of[change.id]
        for watcher in tuple(watching):
            watcher(change)

    @property
    def ids(self) -> KeysView[str]:
        """Those that somebody watches, as they come and go."""
        return self._of.keys()

    def __len__(self) -> int:
        return len(self._of)

    def __repr__(self) -> str:
        return f"<Watchers of {len(self._of)} ids>"
