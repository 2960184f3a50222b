"""Who waits for an id: callers that are held, long polls, event streams.

An id is watched by its `nonce_text`, which is known before the request is stored: so a caller that will be
held watches before there can be anything to miss. Who forges an id with the nonce of another one is told what
becomes of that one, and compares the ids.
"""

from __future__ import annotations

from collections.abc import Callable, KeysView

from bufferproxy.ids import NONCE_TEXT
from bufferproxy.records import Change

Watcher = Callable[[Change], None]
"""Told every change of the id, on the loop, until the end or until it stops watching. Must not raise."""


class Watchers:
    def __init__(self) -> None:
        self._of: dict[bytes, list[Watcher]] = {}
        self.began: Callable[[], None] = _nothing
        """Called when somebody begins to watch while nobody does."""

    def watch(self, nonce_text: bytes, watcher: Watcher) -> None:
        if not self._of:
            self.began()
        self._of.setdefault(nonce_text, []).append(watcher)

    def unwatch(self, nonce_text: bytes, watcher: Watcher) -> None:
        """Harmless when it does not watch (any more)."""
        watching = self._of.get(nonce_text)
        if watching and watcher in watching:
            watching.remove(watcher)
            if not watching:
                del self._of[nonce_text]

    def tell(self, change: Change) -> None:
        nonce_text = change.id.encode()[NONCE_TEXT]
        watching = self._of.get(nonce_text)
        if watching is None:
            return
        if change.state.ended:
            del self._of[nonce_text]
        for watcher in tuple(watching):
            watcher(change)

    @property
    def watched(self) -> KeysView[bytes]:
        """The `nonce_text` of each id that somebody watches, as they come and go."""
        return self._of.keys()

    def __len__(self) -> int:
        return len(self._of)

    def __repr__(self) -> str:
        return f"<Watchers of {len(self._of)} ids>"


def _nothing() -> None: ...
