"""What is ours and lies neither in a lane nor with a deliverer: it waits for its time, or for its key's turn.

With an order nothing of its key goes past it, so a full window may have to be relieved of those behind it
(`parking.py`). Without one it lies aside, and others of its key may go past it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bufferproxy.clock import LOOK, Clock
from bufferproxy.drain.lanes import Item
from bufferproxy.log.marks import Tried
from bufferproxy.records import Partition

ASIDE = 1.0
"""Seconds for which a request of a busy key may lie aside in the window; who waits longer goes to the
tiers."""


MANY = 1000
"""Busy keys at which those are forgotten that are busy no more."""


class Ways(NamedTuple):
    """Where an item goes from here."""

    put_back: Callable[[Item], None]
    """Into its lane."""
    postpone: Callable[[Item], None]
    """Into the tiers, until its `due_at`."""
    may_send: Callable[[Item], bool]
    crowds: Callable[[Partition], None]
    """Something of this partition will not be settled for a while."""


class Waits:
    """One service's. `key_rate` in requests a second."""

    def __init__(self, ways: Ways, clock: Clock, key_rate: float | None) -> None:
        self._ways = ways
        self._clock = clock
        self._key_rate = key_rate or 1.0
        self._next: dict[bytes, float] = {}
        """Of each busy key, by `Clock.now`: the first turn that nobody waits for yet."""

    def go_on_with(self, item: Item, tried: Tried, longest: float) -> None:
        """The holder before was between two attempts, and meant to wait; at most `longest` seconds, since the
        time of day may have been set meanwhile."""
        _, sends, attempts, due_at = tried
        item.request = item.request._replace(sends=sends, attempts=attempts, due_at=due_at)
        item.until = self._clock.now() + min(due_at / 1000 - self._clock.wall(), longest)

    def until_due(self, item: Item) -> bool:
        """Its key waits for its time: nothing of the key goes past it. False when its time has come."""
        if item.until is not None:  # whatever the time of day is set to
            left = item.until - self._clock.now()
        else:
            left = (item.request.due_at or 0) / 1000 - self._clock.wall()
        if left <= 0.0:
            return False
        item.timer = self._clock.call_later(min(left, LOOK), lambda: self._look_again(item))
        self._ways.crowds(item.partition)
        return True

    def _look_again(self, item: Item) -> None:
        if not self._ways.may_send(item) or not self.until_due(item):
            self._ways.put_back(item)

    def in_place(self, item: Item, seconds: float) -> None:
        item.timer = self._clock.call_later(seconds, lambda: self._ways.put_back(item))
        self._ways.crowds(item.partition)

    def aside(self, item: Item, seconds: float) -> None:
        """Others of its key are before it, and others may go past it. It gets a turn of its key, once: who
        waits in the tiers is not written again each time that another has the turn."""
        if not item.placed and not item.due:
            item.placed = True
            seconds = self._turn(item.request.key or b"", seconds)
        if seconds < ASIDE:
            item.timer = self._clock.call_later(seconds, lambda: self._ways.put_back(item))
        else:
            due_at = int((self._clock.wall() + seconds) * 1000)
            item.request = item.request._replace(due_at=due_at)
            self._ways.postpone(item)

    def _turn(self, key: bytes, seconds: float) -> float:
        """Seconds until the next turn of `key` that nobody has, at least `seconds`."""
        now = self._clock.now()
        if len(self._next) >= MANY and key not in self._next:
            self._next = {other: at for other, at in self._next.items() if at > now}
        at = max(now + seconds, self._next.get(key, now))
        self._next[key] = at + 1 / self._key_rate
        return at - now

    def __repr__(self) -> str:
        return f"<Waits of {len(self._next)} busy keys>"
