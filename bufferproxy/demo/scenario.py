"""How large everything is. Rates are per second, times in seconds."""

from __future__ import annotations

from typing import NamedTuple

from bufferproxy.demo.fragile import Fragility


class Scenario(NamedTuple):
    """`ceiling` is what bufferproxy is told, below the capacity as anybody would set it who has measured
    it. `overload` is the spike as a multiple of the capacity. `patience`: how long a caller waits for an
    answer. `drain`: how long the backlog may take, from the start of the spike, before the demo gives up."""

    fragility: Fragility = Fragility()
    ceiling: int = 90
    overload: float = 3.0
    spike: float = 9.0
    patience: float = 2.0
    drain: float = 40.0

    @property
    def capacity(self) -> float:
        return self.fragility.capacity

    @property
    def offered(self) -> float:
        """Requests a second of the spike."""
        return self.capacity * self.overload

    @property
    def requests(self) -> int:
        """Requests of the spike."""
        return round(self.offered * self.spike)
