"""One look at everything, for people: what is set, what lies there, what moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bufferproxy.observe.gauges import GaugeReading, Gauges
    from bufferproxy.observe.meters import Meters
    from bufferproxy.observe.rates import Rates, RecentRates


class Resting(NamedTuple):
    """The service is left alone until `until`, seconds since the epoch."""

    reason: str
    until: float


class Standing(NamedTuple):
    """How a service is set now, and whether it may work. `to`: its URLs."""

    to: Sequence[str]
    burst: int
    concurrency: int
    paused: bool
    resting: Resting | None


class ServiceSnapshot(NamedTuple):
    name: str
    standing: Standing
    gauges: GaugeReading
    rates: Rates
    accepted: int
    finished: Mapping[str, float]


class Snapshots:
    """Assembles snapshots. `register` each service once; `forget` it when it is gone."""

    def __init__(self, meters: Meters, rates: RecentRates) -> None:
        self._meters = meters
        self._rates = rates
        self._sources: dict[str, tuple[Callable[[], Standing], Gauges]] = {}

    def register(self, service: str, standing: Callable[[], Standing], gauges: Gauges) -> None:
        self._sources[service] = (standing, gauges)

    def forget(self, service: str) -> None:
        self._sources.pop(service, None)

    def services(self) -> list[ServiceSnapshot]:
        """Every service that is configured and registered, in the order of the configuration."""
        found = [self.service(name) for name in self._meters.services]
        return [snapshot for snapshot in found if snapshot is not None]

    def service(self, name: str) -> ServiceSnapshot | None:
        meters = self._meters.services.get(name)
        source = self._sources.get(name)
        if meters is None or source is None:
            return None
        standing, gauges = source
        return ServiceSnapshot(
            name, standing(), gauges(), self._rates.rates(name), meters.accepted, dict(meters.finished)
        )

    def __repr__(self) -> str:
        return f"<Snapshots of {len(self._sources)} services>"
