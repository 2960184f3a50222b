"""The jumps of a FakeClock: the machine is suspended for an hour, or somebody sets the time of day by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bufferproxy.clock import LOOK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bufferproxy.testing.clock import FakeClock

HOUR = 3600.0
SOON = LOOK + 0.5
"""Seconds within which a jump is noticed."""


def set_forward(clock: FakeClock, seconds: float = HOUR) -> None:
    clock.set_wall(clock.wall() + seconds)


def set_back(clock: FakeClock) -> None:
    set_forward(clock, -HOUR)


def suspended(clock: FakeClock) -> None:
    clock.suspend(HOUR)


JUMPS: Mapping[str, Callable[[FakeClock], None]] = {
    "suspended": suspended,
    "set forward": set_forward,
    "set back": set_back,
}


async def until(clock: FakeClock, wall: float) -> None:
    """That time of day. Of a long wait the middle is slept through: nothing happens in it."""
    await clock.advance(min(2 * SOON, max(0.0, wall - clock.wall())))
    clock.suspend(max(0.0, wall - clock.wall() - 120.0))
    await clock.advance(max(0.0, wall - clock.wall()))


class Sends:
    """When each body was sent, by both clocks: (now, time of day). `service` notes bodies in `sent`, and asks
    its `now` once for each."""

    def __init__(self, service: Any, clock: FakeClock) -> None:
        self._service = service
        self._clock = clock
        self._at: list[tuple[float, float]] = []
        service.now = self._now

    def _now(self) -> float:
        self._at.append((self._clock.now(), self._clock.wall()))
        return self._clock.now()

    def of(self, body: bytes) -> list[tuple[float, float]]:
        sent = zip(self._service.sent, self._at, strict=True)
        return [at for (found, _), at in sent if found == body]

    @property
    def times(self) -> list[float]:
        """By `now`."""
        return [now for now, _ in self._at]
