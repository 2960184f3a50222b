"""What the fragile service says about itself: one JSON object a line, on its stdout.

All times are those of `SystemClock.now`, which processes of one machine share.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import NamedTuple


class How(StrEnum):
    """How a request ended at the service. `unheard`: it was worked on, and its caller had gone."""

    OK = "ok"
    FULL = "full"
    RESET = "reset"
    UNHEARD = "unheard"


class Ending(NamedTuple):
    """`id` is the request's Bufferproxy-Id, empty when it came without one. `seconds` since its arrival."""

    at: float
    seconds: float
    how: How
    id: str


class Ready(NamedTuple):
    """The first line. `kernel`: arrivals are stamped by the kernel, not when the process got round to it."""

    port: int
    kernel: bool


class Report(NamedTuple):
    """What happened since the last report, in order, and how it stands. `arrived`: when the first byte of
    each request reached the service."""

    arrived: list[float]
    ended: list[Ending]
    working: int
    waiting: int
    down: bool


def encode(report: Ready | Report) -> bytes:
    return json.dumps(report, separators=(",", ":")).encode() + b"\n"


def ready_of(line: bytes) -> Ready:
    """Raises ValueError for anything else."""
    port, kernel = json.loads(line)
    return Ready(int(port), bool(kernel))


def report_of(line: bytes) -> Report:
    """Raises ValueError for anything else."""
    arrived, ended, working, waiting, down = json.loads(line)
    endings = [Ending(at, seconds, How(how), id_) for at, seconds, how, id_ in ended]
    return Report(arrived, endings, working, waiting, down)
