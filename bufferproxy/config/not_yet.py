"""What is accepted and checked, but not done yet. Whoever sets it is told; nothing is silently ignored."""

from __future__ import annotations

from collections.abc import Mapping

from bufferproxy.config.load import Loaded
from bufferproxy.config.origin import dotted
from bufferproxy.config.show import leaves

_NOT_ENFORCED = "accepted, not yet enforced in this version"
_NOT_DONE = "accepted, not yet done in this version"

NOT_YET: Mapping[str, str] = {
    "advertise": f"{_NOT_DONE}: no replica asks another",
    "callers": f"{_NOT_ENFORCED}: everybody may send",
    "callbacks": f"{_NOT_DONE}: no callback is sent",
    "idempotency": _NOT_ENFORCED,
    "services.*.hangup": _NOT_ENFORCED,
    "services.*.results.total": _NOT_ENFORCED,
}
"""Dotted key (`*`: any one part), perhaps with the one value that is meant -> what to say when it is set."""


def not_yet(loaded: Loaded) -> list[str]:
    """A line for each such key that somebody set: `services.auth.key_rate: accepted, not yet …`."""
    values = {dotted(path): value for path, value in leaves(loaded.settings)}
    lines = []
    for key in loaded.origins:
        for pattern, message in NOT_YET.items():
            wanted, _, value = pattern.partition("=")
            unset = key in values and values[key] is None
            if _matches(key, wanted) and not unset and value in ("", values.get(key)):
                lines.append(f"{key}: {message}")
    return lines


def _matches(key: str, pattern: str) -> bool:
    parts, wanted = key.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(w in ("*", p) for p, w in zip(parts, wanted, strict=True))
