"""The metrics as Prometheus reads them. Nothing else imports prometheus_client.

A scrape has two halves: `take` copies the numbers on the event loop, in some microseconds a service; making
text of them takes a hundred times as long and is done on a thread, so that a scrape never delays a send.
"""

from __future__ import annotations

import asyncio
from copy import copy
from math import inf
from typing import TYPE_CHECKING, NamedTuple, TypeVar, assert_never

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from bufferproxy.observe import catalog
from bufferproxy.observe.catalog import PREFIX, Counter, CounterBy, Gauge, GaugeBy, HistogramOf, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bufferproxy.observe.gauges import GaugeReading, Gauges
    from bufferproxy.observe.meters import Meters, ServiceMeters
    from bufferproxy.observe.tally import Histogram, Tally

Single = TypeVar("Single", CounterMetricFamily, GaugeMetricFamily)
Family = TypeVar("Family", CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily)


class Rendered(NamedTuple):
    body: bytes
    content_type: str


class Taken(NamedTuple):
    """The numbers of one moment."""

    services: Mapping[str, ServiceMeters]
    gauges: Mapping[str, GaugeReading]
    unrouted: Tally
    operations: Mapping[str, Histogram]
    operation_errors: Tally
    rebalances: int
    turned_away: Tally
    reload_success: bool
    lag: float


class Metrics:
    """Renders meters and gauges. `register` the gauges of each service; those of a service that is not
    configured are not looked at."""

    def __init__(self, meters: Meters, version: str) -> None:
        self._meters = meters
        self._version = version
        self.kafka_client: tuple[str, str] | None = None
        """Name and version of the library that drives Kafka."""
        self._gauges: dict[str, Gauges] = {}
        self._process = ProcessCollector(registry=None)

    def register(self, service: str, gauges: Gauges) -> None:
        self._gauges[service] = gauges

    def forget(self, service: str) -> None:
        self._gauges.pop(service, None)

    def take(self) -> Taken:
        """On the event loop's thread only."""
        meters = self._meters
        return Taken(
            {name: copy(numbers) for name, numbers in meters.services.items()},
            {name: read() for name, read in self._gauges.items() if name in meters.services},
            copy(meters.unrouted),
            {name: copy(histogram) for name, histogram in meters.operations.items()},
            copy(meters.operation_errors),
            meters.rebalances,
            copy(meters.turned_away),
            meters.reload_success,
            meters.worst_lag,
        )

    def render(self, taken: Taken, accept: str = "") -> Rendered:
        """Text in the newest format that the `Accept` header takes. May run on any thread."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Once(taken, self._version, self.kafka_client))
        registry.register(self._process)
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # a version that is no number: as if it had not been asked for
            encode, content_type = choose_encoder("")
        return Rendered(encode(registry), content_type)

    async def scrape(self, accept: str = "") -> Rendered:
        return await asyncio.to_thread(self.render, self.take(), accept)

    def __repr__(self) -> str:
        return f"<Metrics of {len(self._meters.services)} services, {len(self._gauges)} with gauges>"


class _Once(Collector):
    """What was taken, as metric families."""

    def __init__(self, taken: Taken, version: str, kafka_client: tuple[str, str] | None) -> None:
        self._taken = taken
        self._version = version
        self._kafka_client = kafka_client

    def collect(self) -> Iterator[Metric]:
        for row in catalog.SERVICE:
            yield self._family(row)
        yield from self._of_process()

    def _family(self, row: Row) -> Metric:
        match row:
            case Counter():
                return self._counter(row)
            case CounterBy():
                return self._counter_by(row)
            case HistogramOf():
                return self._histogram(row)
            case Gauge() | GaugeBy():
                return self._gauge(row)
            case _:
                assert_never(row)

    def _counter(self, row: Counter) -> Metric:
        family = CounterMetricFamily(PREFIX + row.name, row.help, labels=("service",))
        for service, meters in self._taken.services.items():
            family.add_metric((service,), row.read(meters))
        return family

    def _counter_by(self, row: CounterBy) -> Metric:
        family = CounterMetricFamily(PREFIX + row.name, row.help, labels=("service", row.label))
        for service, meters in self._taken.services.items():
            for value, count in row.read(meters).items():
                family.add_metric((service, value), count)
        if row.name == "requests_refused_total":
            for value, count in self._taken.unrouted.items():
                family.add_metric(("", value), count)
        return family

    def _histogram(self, row: HistogramOf) -> Metric:
        family = HistogramMetricFamily(PREFIX + row.name, row.help, labels=("service",))
        for service, meters in self._taken.services.items():
            _add(family, service, row.read(meters))
        return family

    def _gauge(self, row: Gauge | GaugeBy) -> Metric:
        labels = ("service", row.label) if isinstance(row, GaugeBy) else ("service",)
        family = GaugeMetricFamily(PREFIX + row.name, row.help, labels=labels)
        for service, reading in self._taken.gauges.items():
            if isinstance(row, Gauge):
                family.add_metric((service,), row.read(reading))
                continue
            for value, number in row.read(reading).items():
                family.add_metric((service, value), number)
        return family

    def _of_process(self) -> Iterator[Metric]:
        taken = self._taken
        seconds = _family(HistogramMetricFamily, catalog.OPERATION_SECONDS)
        for operation, histogram in taken.operations.items():
            _add(seconds, operation, histogram)
        yield seconds
        errors = _family(CounterMetricFamily, catalog.OPERATION_ERRORS)
        for operation, count in taken.operation_errors.items():
            errors.add_metric((operation,), count)
        yield errors
        yield _only(_family(CounterMetricFamily, catalog.REBALANCES), taken.rebalances)
        turned_away = _family(CounterMetricFamily, catalog.TURNED_AWAY)
        for plane, count in taken.turned_away.items():
            turned_away.add_metric((plane,), count)
        yield turned_away
        build = InfoMetricFamily(PREFIX + catalog.BUILD.name.removesuffix("_info"), catalog.BUILD.help)
        build.add_metric((), {"version": self._version})
        yield build
        if self._kafka_client is not None:
            row = catalog.KAFKA_CLIENT
            client = InfoMetricFamily(PREFIX + row.name.removesuffix("_info"), row.help)
            client.add_metric((), dict(zip(row.labels, self._kafka_client, strict=True)))
            yield client
        yield _only(_family(GaugeMetricFamily, catalog.RELOADED), float(taken.reload_success))
        yield _only(_family(GaugeMetricFamily, catalog.LAG), taken.lag)


def _family(kind: Callable[..., Family], row: catalog.Process) -> Family:
    return kind(PREFIX + row.name, row.help, labels=row.labels)


def _only(family: Single, value: float) -> Single:
    family.add_metric((), value)
    return family


def _add(family: HistogramMetricFamily, label: str, histogram: Histogram) -> None:
    rows = [("+Inf" if bound == inf else repr(bound), float(n)) for bound, n in histogram.cumulated()]
    family.add_metric((label,), rows, histogram.total)
