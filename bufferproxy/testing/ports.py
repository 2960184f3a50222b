"""Ports that will be free again when a process that was killed comes back for them."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from itertools import cycle, islice

FROM, TO = 20000, 32000
"""Below those that the system gives to outgoing connections."""


def free_port() -> int:
    with socket.socket() as probe:
        return bind(probe)


def bind(probe: socket.socket) -> int:
    """In rounds: what was given out lately is perhaps not open yet."""
    for port in islice(_round, 200):
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"no free port between {FROM} and {TO}")


def _own() -> list[int]:
    """Test runners side by side (pytest-xdist) have ports of their own."""
    runners = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(FROM + number, TO, runners)
    return random.sample(ports, len(ports))


_round = cycle(_own())
