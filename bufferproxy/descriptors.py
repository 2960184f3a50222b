"""File descriptors: how many there are, and who may have how many.

Callers are the only ones that come uncounted, and each takes one. So the data plane is bounded by what the
system gives, less what the rest of the process needs: connections to services, the log, the admin plane.
Without that bound a flood of idle callers takes the last one, and neither a probe nor the log gets any.
"""

from __future__ import annotations

import resource
from typing import NamedTuple

FOR_THE_PROCESS = 64
"""For the log and its files, the loop, the clients of Kafka, what a library opens for a moment."""

_ENOUGH = 1 << 20
"""More than this is not asked for: some systems allow billions, and size tables by what was asked for."""


class Shares(NamedTuple):
    """Most connections of callers, and of the admin plane. `short`: how many descriptors are missing for all
    connections to services that the settings allow; 0 when none is."""

    data: int
    admin: int
    short: int


def raise_limit() -> int:
    """Raise the soft limit of this process to the hard one, as far as it goes; returns what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, max(soft, _ENOUGH))
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # macOS says infinity and means less
            return soft
        return wanted
    return _ENOUGH if soft == resource.RLIM_INFINITY else soft


def share(limit: int, admin: int, services: int) -> Shares:
    """`admin`: the connections it would have; `services`: the most that the settings allow to all services.
    The data plane gets what is left, and half of all at least."""
    admin = max(4, min(admin, limit // 8))
    kept = FOR_THE_PROCESS + admin + services
    data = max(limit - kept, limit // 2)
    return Shares(data, admin, max(0, kept + limit // 2 - limit))
