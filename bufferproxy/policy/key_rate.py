"""A ceiling for each ordering key, within that of the service. Pure.

The generic cell rate algorithm (ITU-T I.371) with no burst: a key may be sent again `1 / rate` seconds
after its last send. One number a key; keys whose time has come are forgotten.
"""

from __future__ import annotations

MANY = 10_000
"""Keys that are kept before those whose time has come are looked for."""


class KeyRate:
    """`rate` is per second and key."""

    __slots__ = ("_free_at", "_prune_at", "interval")

    def __init__(self, rate: float) -> None:
        self.interval = 1.0 / rate
        self._free_at: dict[bytes, float] = {}
        self._prune_at = MANY

    def wait(self, key: bytes | None, now: float) -> float:
        """Seconds until `key` may be sent; 0.0: now. Who has no key is not held back."""
        if key is None:
            return 0.0
        return max(0.0, self._free_at.get(key, now) - now)

    def sent(self, key: bytes | None, now: float) -> None:
        if key is None:
            return
        if len(self._free_at) >= self._prune_at:
            self._free_at = {key: at for key, at in self._free_at.items() if at > now}
            self._prune_at = max(MANY, 2 * len(self._free_at))
        self._free_at[key] = now + self.interval

    def __repr__(self) -> str:
        return f"<KeyRate {1 / self.interval:g}/s, {len(self._free_at)} keys>"
