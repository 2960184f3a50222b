from __future__ import annotations

from math import inf
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from bufferproxy.observe import reference
from bufferproxy.observe.events import Accepted, Attempted, Events, Finished, Refused
from bufferproxy.observe.gauges import GaugeReading
from bufferproxy.observe.labels import OUTCOMES, REFUSALS, RESULTS, THROTTLES
from bufferproxy.observe.meters import Meters
from bufferproxy.observe.metrics import Metrics

READING = GaugeReading(
    ready=3,
    delayed=2,
    in_flight=1,
    bytes=600,
    oldest_at=1_700_000_000.25,
    drain_eta=12.5,
    deliveries=1,
    rate_limit=inf,
    rate_allowed=40.0,
    rate_share=20.0,
    held=7,
    dead_letters=4,
    partitions=12,
)
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def series(text: str) -> Series:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(metrics: Metrics) -> Series:
    return series(metrics.render(metrics.take()).body.decode())


def of(found: Series, name: str, **labels: str) -> float:
    return found["bufferproxy_" + name, frozenset(labels.items())]


def metrics_of(*services: str) -> tuple[Metrics, Events]:
    meters, events = Meters(services), Events()
    meters.subscribe(events)
    return Metrics(meters, "1.2.3"), events


def test_every_series_of_a_configured_service_is_zero_from_the_start() -> None:
    metrics, _ = metrics_of("auth", "mail")
    found = scraped(metrics)
    for service in ("auth", "mail"):
        assert of(found, "requests_accepted_total", service=service) == 0
        for name, label, values in (
            ("requests_finished_total", "outcome", OUTCOMES),
            ("requests_refused_total", "reason", REFUSALS),
            ("delivery_attempts_total", "result", RESULTS),
            ("throttled_seconds_total", "reason", THROTTLES),
        ):
            for value in values:
                assert of(found, name, service=service, **{label: value}) == 0
        for name in ("accept_duration_seconds", "request_body_bytes", "delivery_duration_seconds"):
            assert of(found, name + "_count", service=service) == 0
            assert of(found, name + "_bucket", service=service, le="+Inf") == 0
    for operation in ("append", "fetch", "commit"):
        assert of(found, "log_operation_duration_seconds_count", operation=operation) == 0
        assert of(found, "log_errors_total", operation=operation) == 0
    assert of(found, "worker_rebalances_total") == 0
    assert of(found, "config_reload_success") == 1
    assert of(found, "build_info", version="1.2.3") == 1


def test_events_show_in_the_next_scrape() -> None:
    metrics, events = metrics_of("auth")
    events.emit(Accepted("auth", 512, 0.003))
    events.emit(Attempted("auth", "success", 0.02, 1.5))
    events.emit(Finished("auth", "delivered"))
    events.emit(Refused(None, "no-service"))
    found = scraped(metrics)
    assert of(found, "requests_accepted_total", service="auth") == 1
    assert of(found, "requests_finished_total", service="auth", outcome="delivered") == 1
    assert of(found, "requests_refused_total", service="", reason="no-service") == 1
    assert of(found, "accept_duration_seconds_bucket", service="auth", le="0.0025") == 0
    assert of(found, "accept_duration_seconds_bucket", service="auth", le="0.005") == 1
    assert of(found, "time_in_queue_seconds_sum", service="auth") == 1.5


def test_gauges_are_pulled_at_the_scrape() -> None:
    metrics, _ = metrics_of("auth")
    readings = iter([READING, READING._replace(ready=9, oldest_at=None, drain_eta=inf)])
    metrics.register("auth", lambda: next(readings))
    found = scraped(metrics)
    assert of(found, "backlog_requests", service="auth", state="ready") == 3
    assert of(found, "backlog_requests", service="auth", state="delayed") == 2
    assert of(found, "backlog_requests", service="auth", state="in_flight") == 1
    assert of(found, "backlog_oldest_timestamp_seconds", service="auth") == 1_700_000_000.25
    assert of(found, "backlog_drain_eta_seconds", service="auth") == 12.5
    assert of(found, "rate_limit_per_second", service="auth") == inf
    assert of(found, "rate_share_per_second", service="auth") == 20
    assert of(found, "worker_partitions", service="auth") == 12
    found = scraped(metrics)
    assert of(found, "backlog_requests", service="auth", state="ready") == 9
    assert of(found, "backlog_oldest_timestamp_seconds", service="auth") == 0
    assert of(found, "backlog_drain_eta_seconds", service="auth") == inf


def test_gauges_of_a_service_that_is_not_configured_are_not_exported() -> None:
    metrics, _ = metrics_of("auth")
    metrics.register("ghost", lambda: READING)
    assert not [key for key in scraped(metrics) if ("service", "ghost") in key[1]]


def test_what_was_taken_does_not_change_while_it_is_rendered() -> None:
    metrics, events = metrics_of("auth")
    taken = metrics.take()
    events.emit(Accepted("auth", 1, 0.1))
    events.emit(Finished("auth", "delivered"))
    found = series(metrics.render(taken).body.decode())
    assert of(found, "requests_accepted_total", service="auth") == 0
    assert of(found, "accept_duration_seconds_count", service="auth") == 0
    assert of(found, "requests_finished_total", service="auth", outcome="delivered") == 0


async def test_a_scraper_that_takes_openmetrics_gets_it() -> None:
    metrics, _ = metrics_of("auth")
    metrics.register("auth", lambda: READING)
    plain = await metrics.scrape()
    assert plain.content_type.startswith("text/plain; version=0.0.4")
    newer = await metrics.scrape("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert newer.content_type.startswith("application/openmetrics-text; version=1.0.0")
    families = list(openmetrics_families(newer.body.decode()))
    assert "bufferproxy_requests_accepted" in {family.name for family in families}


@pytest.mark.parametrize("accept", ["application/openmetrics-text;version=zz", "text/plain;version=;", ";,;"])
async def test_a_nonsensical_accept_header_gets_plain_text(accept: str) -> None:
    metrics, _ = metrics_of("auth")
    assert (await metrics.scrape(accept)).content_type.startswith("text/plain; version=0.0.4")


def test_the_reference_page_is_what_the_catalog_says() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
    assert page.read_text() == reference.page(), "python -m bufferproxy.observe.reference > " + str(page)
