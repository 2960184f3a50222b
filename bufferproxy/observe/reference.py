"""Writes `docs/reference/metrics.md` from the catalog: `python -m bufferproxy.observe.reference > FILE`."""

from __future__ import annotations

import sys

from bufferproxy.observe.catalog import (
    PREFIX,
    PROCESS,
    SERVICE,
    Counter,
    CounterBy,
    GaugeBy,
    HistogramOf,
    Row,
)
from bufferproxy.observe.meters import ServiceMeters

HEAD = """\
# Metrics

`GET /metrics` on the admin plane, in Prometheus' text format, or OpenMetrics where the scraper asks for it.

The label `service` comes from the configuration only; no id, path or caller is ever a label. Every series of
a configured service is there from the start, at zero, with every value of `reason`, `outcome`, `result` and
`state` below. `unlimited` is `+Inf`. Counters are of this replica since it started, and add up over replicas.

From a fresh start of all processes, accepted minus finished is the backlog:

```promql
sum by (service) (bufferproxy_requests_accepted_total)
  - sum by (service) (bufferproxy_requests_finished_total)
  == sum by (service) (bufferproxy_backlog_requests)
```

The age of the oldest open request (the timestamp is 0 without backlog):

```promql
(time() - bufferproxy_backlog_oldest_timestamp_seconds) and (bufferproxy_backlog_oldest_timestamp_seconds > 0)
```

The standard `process_*` metrics (memory, CPU, open files) are there too, where the system has `/proc`.
"""


def page() -> str:
    rows = [_row(row.name, _kind(row), ("service", *_extra(row)), row.help) for row in SERVICE]
    process = [_row(row.name, row.kind, row.labels, row.help) for row in PROCESS]
    parts = [HEAD, _table("Of each service", rows), _table("Of the process", process)]
    return "\n".join([*parts, _values(), _buckets()])


def _kind(row: Row) -> str:
    if isinstance(row, Counter | CounterBy):
        return "counter"
    return "histogram" if isinstance(row, HistogramOf) else "gauge"


def _extra(row: Row) -> tuple[str, ...]:
    return (row.label,) if isinstance(row, CounterBy | GaugeBy) else ()


def _row(name: str, kind: str, labels: tuple[str, ...], text: str) -> str:
    return f"| `{PREFIX}{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {text} |\n"


def _table(title: str, rows: list[str]) -> str:
    return f"## {title}\n\n| metric | type | labels | |\n|---|---|---|---|\n{''.join(rows)}"


def _values() -> str:
    lines = ["## Label values\n\n"]
    for row in SERVICE:
        if isinstance(row, CounterBy | GaugeBy):
            values = ", ".join(f"`{value}`" for value in row.values)
            lines.append(f"- `{PREFIX}{row.name}`, `{row.label}`: {values}\n")
    return "".join(lines)


def _buckets() -> str:
    lines, empty = ["## Buckets\n\n"], ServiceMeters()
    for row in SERVICE:
        if isinstance(row, HistogramOf):
            bounds = ", ".join(f"{bound:.10g}" for bound in row.read(empty).bounds)
            lines.append(f"- `{PREFIX}{row.name}`: {bounds}\n")
    return "".join(lines)


if __name__ == "__main__":
    sys.stdout.write(page())
