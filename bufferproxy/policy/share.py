"""What one worker may take of a service's rate while workers do not yet lease it from each other.

Each takes its share of the partitions. Each may also hold a token, so `holders` of them could send `holders`
requests at one instant where only `burst` are allowed; what that exceeds is taken off the rate so that the
promise holds in its shortest window:

    sum(rates) * W + sum(bursts) <= rate * W + burst      for W >= WINDOW
"""

from __future__ import annotations

import math
from typing import NamedTuple

from bufferproxy.policy.bucket import WINDOW


class Share(NamedTuple):
    rate: float
    burst: int


def share_of(rate: float, burst: int, *, owned: int, total: int, holders: int) -> Share:
    """`owned` of `total` partitions, `holders` workers in all (at least 1). A rate of 0: send nothing."""
    if owned == 0:
        return Share(0.0, 1)
    if rate == math.inf or owned == total:
        return Share(rate, burst)
    own = max(1, burst // holders)
    excess = max(0, own * holders - burst)
    return Share(max(0.0, rate - excess / WINDOW) * owned / total, own)
