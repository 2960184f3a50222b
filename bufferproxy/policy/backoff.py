"""When to try again."""

from __future__ import annotations


def backoff(attempt: int, *, first: float, max: float, jitter: str, random: float) -> float:  # noqa: A002 - the settings call it so
    """Seconds to wait after attempt number `attempt` (from 1) failed.

    Exponential, `first * 2**(attempt - 1)` capped at `max`; with `full` jitter uniform between 0 and that
    ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015). `random` is uniform in [0, 1).
    """
    ceiling = min(max, first * 2.0 ** min(attempt - 1, 62))
    return ceiling * random if jitter == "full" else ceiling
