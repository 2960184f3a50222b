"""Every metric: its name, what it says, and where its number comes from.

Names stand here without the prefix `bufferproxy_`; each has the label `service` unless it is in PROCESS.
`metrics.py` exports these rows, `reference.py` writes the reference page from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bufferproxy.observe import labels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bufferproxy.observe.gauges import GaugeReading
    from bufferproxy.observe.meters import ServiceMeters
    from bufferproxy.observe.tally import Histogram

PREFIX = "bufferproxy_"


class Counter(NamedTuple):
    name: str
    help: str
    read: Callable[[ServiceMeters], float]


class CounterBy(NamedTuple):
    """One counter for each value of `label`; `values` are there from the start."""

    name: str
    label: str
    values: tuple[str, ...]
    help: str
    read: Callable[[ServiceMeters], Mapping[str, float]]


class HistogramOf(NamedTuple):
    name: str
    help: str
    read: Callable[[ServiceMeters], Histogram]


class Gauge(NamedTuple):
    name: str
    help: str
    read: Callable[[GaugeReading], float]


class GaugeBy(NamedTuple):
    name: str
    label: str
    values: tuple[str, ...]
    help: str
    read: Callable[[GaugeReading], Mapping[str, float]]


class Process(NamedTuple):
    """A metric of the whole process: `metrics.py` fills it in. `kind`: counter, gauge, histogram or info."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


Row = Counter | CounterBy | HistogramOf | Gauge | GaugeBy

SERVICE: tuple[Row, ...] = (
    Counter(
        "requests_accepted_total",
        "Requests that were stored durably. A redriven dead letter counts again.",
        lambda m: m.accepted,
    ),
    CounterBy(
        "requests_refused_total",
        "reason",
        labels.REFUSALS,
        "Requests that were not accepted, by the problem the caller got. "
        "An empty service: refused before a service was found.",
        lambda m: m.refused,
    ),
    CounterBy(
        "requests_finished_total",
        "outcome",
        labels.OUTCOMES,
        "Requests that reached their end.",
        lambda m: m.finished,
    ),
    HistogramOf(
        "accept_duration_seconds",
        "From a request's last byte to its acceptance.",
        lambda m: m.accept_seconds,
    ),
    HistogramOf("request_body_bytes", "Bodies of accepted requests.", lambda m: m.body_bytes),
    GaugeBy(
        "backlog_requests",
        "state",
        ("ready", "delayed", "in_flight"),
        "Requests that are not settled yet; accepted minus finished is the sum of the states.",
        lambda g: {"ready": g.ready, "delayed": g.delayed, "in_flight": g.in_flight},
    ),
    Gauge("backlog_bytes", "Bodies of the backlog.", lambda g: g.bytes),
    Gauge(
        "backlog_oldest_timestamp_seconds",
        "When the oldest open request was accepted; 0 without backlog.",
        lambda g: g.oldest_at or 0,
    ),
    Gauge(
        "backlog_drain_eta_seconds",
        "Time until the backlog is empty at the present pace; +Inf when nothing drains.",
        lambda g: g.drain_eta,
    ),
    CounterBy(
        "delivery_attempts_total",
        "result",
        labels.RESULTS,
        "Delivery attempts that are over.",
        lambda m: m.attempts,
    ),
    HistogramOf(
        "delivery_duration_seconds",
        "From the start of an attempt to its end.",
        lambda m: m.delivery_seconds,
    ),
    HistogramOf(
        "time_in_queue_seconds",
        "From acceptance to the send of the first attempt.",
        lambda m: m.queue_seconds,
    ),
    Gauge("deliveries_in_flight", "Attempts under way.", lambda g: g.deliveries),
    Gauge(
        "rate_limit_per_second",
        "The configured ceiling for all replicas; +Inf when unlimited.",
        lambda g: g.rate_limit,
    ),
    Gauge(
        "rate_allowed_per_second",
        "What is left of the ceiling after pauses, rests and adaptive limits.",
        lambda g: g.rate_allowed,
    ),
    Gauge("rate_share_per_second", "The part of the rate that this replica holds.", lambda g: g.rate_share),
    Gauge(
        "concurrency_allowed",
        "What is left of the concurrency for all replicas, after rests, breaker, ramp and adaptive limits.",
        lambda g: g.concurrency_allowed,
    ),
    Gauge(
        "concurrency_found",
        "The limit that adaptive concurrency has found, also where it is in shadow; 0 where it is not set.",
        lambda g: g.concurrency_found,
    ),
    Gauge("callers_held", "Callers that wait for their reply.", lambda g: g.held),
    CounterBy(
        "throttled_seconds_total",
        "reason",
        labels.THROTTLES,
        "Time for which delivery was held back while there was backlog. `retry_after`: the service rested, "
        "because it asked for it or could not be reached.",
        lambda m: m.throttled,
    ),
    GaugeBy(
        "breaker_state",
        "state",
        labels.BREAKER,
        "1 for the state that the breaker of the service is in, also where it is in shadow.",
        lambda g: {state: float(state == g.breaker) for state in labels.BREAKER},
    ),
    CounterBy(
        "retries_scheduled_total",
        "reason",
        labels.RETRIES,
        "Attempts that will be made again, by what went wrong: a status, or a word. "
        "Other statuses join as they occur.",
        lambda m: m.retries,
    ),
    Gauge("dead_letters", "Dead letters that are kept.", lambda g: g.dead_letters),
    CounterBy(
        "dead_letters_added_total",
        "reason",
        labels.DEATHS,
        "Requests that were put with the dead letters. Other reasons join as they occur.",
        lambda m: m.dead_lettered,
    ),
    Counter(
        "dead_letters_redriven_total",
        "Dead letters that were put into the queue again.",
        lambda m: m.redriven,
    ),
    Gauge("worker_partitions", "Partitions of the service that this replica reads.", lambda g: g.partitions),
)

OPERATION_SECONDS = Process(
    "log_operation_duration_seconds",
    "histogram",
    ("operation",),
    "Operations of the durable log; a fetch includes the wait for records.",
)
OPERATION_ERRORS = Process(
    "log_errors_total", "counter", ("operation",), "Operations of the durable log that failed."
)
REBALANCES = Process(
    "worker_rebalances_total", "counter", (), "Changes of what this replica reads, over all services."
)
TURNED_AWAY = Process(
    "connections_turned_away_total",
    "counter",
    ("plane",),
    "Connections that were closed at once, as there were as many as there may be.",
)
BUILD = Process("build_info", "info", ("version",), "1, with the version of bufferproxy.")
KAFKA_CLIENT = Process(
    "kafka_client_info",
    "info",
    ("client", "version"),
    "1, with the library that drives Kafka; absent with an SQLite log.",
)
RELOADED = Process(
    "config_reload_success", "gauge", (), "1 while the settings in use are those of the file, else 0."
)
LAG = Process(
    "event_loop_lag_seconds", "gauge", (), "The longest that the event loop was late in the last 30 s."
)

PROCESS = (OPERATION_SECONDS, OPERATION_ERRORS, REBALANCES, TURNED_AWAY, BUILD, KAFKA_CLIENT, RELOADED, LAG)
