"""What the Kafka log costs: with next to nothing to do, with nothing to do, and at the start. Each engine,
one broker, SQLite beside it where it can be compared."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.world import cpu_of, folder, quiet, rss_of, sink, told, wakeups_of
from bufferproxy.testing.processes import Bufferproxy, wait_until

ENGINES = ("librdkafka", "kafka-python")
SERVICES = (1, 20, 100)
TRICKLE_RATE = 90
"""Requests a second."""
TRICKLE_SECONDS = 10
REST_SECONDS = 10.0


def trickle(kafka: str | None) -> dict[str, Any]:
    """CPU milliseconds of all our processes for a request at 90/s, nobody waiting for an answer."""
    found: dict[str, Any] = {}
    with folder() as where, sink() as to, Bufferproxy("run", _settings("sqlite:./log.db", to), where) as run:
        found["SQLite"] = _trickled(run.url, [run])
    for engine in ENGINES if kafka else ():
        with sink() as to, _apart(f"kafka://{kafka}", to, engine) as (proxy, worker):
            found[f"Kafka, {engine}"] = _trickled(proxy.url, [proxy, worker])
    return found


def _trickled(url: str, processes: Sequence[Bufferproxy]) -> dict[str, float]:
    told("benchmarks.load", f"{url}/s0/x", 2, 8, TRICKLE_RATE)
    before = sum(cpu_of(process.pid) for process in processes)
    answered = sum(
        told("benchmarks.load", f"{url}/s0/x", TRICKLE_SECONDS, 8, TRICKLE_RATE)["statuses"].values()
    )
    quiet(1.0)
    spent = sum(cpu_of(process.pid) for process in processes) - before
    return {"cpu_ms": round(spent / answered * 1000, 2), "requests": answered}


def idle(kafka: str | None) -> dict[str, Any]:
    """With nothing to do: percent of a core, wake-ups a second and resident MB of each process."""
    found: dict[str, Any] = {}
    for engine in ENGINES if kafka else ():
        for count in SERVICES:
            with sink() as to, _apart(f"kafka://{kafka}", to, engine, count) as (proxy, worker):
                quiet(5.0)
                before = {each: (cpu_of(each.pid), wakeups_of(each.pid)) for each in (proxy, worker)}
                began = time.perf_counter()
                quiet(REST_SECONDS)
                seconds = time.perf_counter() - began
                for name, each in (("proxy", proxy), ("worker", worker)):
                    cpu, wakeups = before[each]
                    found[f"{engine}, {count} services, {name}"] = {
                        "cpu_percent": round((cpu_of(each.pid) - cpu) / seconds * 100, 2),
                        "wakeups": round((wakeups_of(each.pid) - wakeups) / seconds, 1),
                        "rss_mb": round(rss_of(each.pid), 1),
                    }
    return found


def start(kafka: str | None) -> dict[str, Any]:
    """Seconds until a worker is ready whose topics are made, and until it has delivered what waited."""
    found: dict[str, Any] = {}
    for engine in ENGINES if kafka else ():
        for count in SERVICES:
            prefix = _prefix()
            with folder() as where, sink() as to:
                text = _settings(f"kafka://{kafka}", to, engine, count, prefix)
                with Bufferproxy("proxy", text, where) as proxy:
                    told("benchmarks.load", f"{proxy.url}/s0/x", 1, 1, 5)
                    worker = Bufferproxy("worker", text, where)
                    began = time.perf_counter()
                    worker.launch()
                    try:
                        wait_until(lambda w=worker: w.ready, "the worker", patience=60.0)
                        ready = time.perf_counter() - began
                        wait_until(lambda w=worker: w.service("s0")["backlog"]["requests"] == 0, "deliveries")
                    finally:
                        delivered = time.perf_counter() - began
                        worker.kill()
            found[f"{engine}, {count} services"] = {
                "ready_s": round(ready, 2),
                "delivered_s": round(delivered, 2),
            }
    return found


_prefixes = iter(range(1, 1000))


def _prefix() -> str:
    return f"bench{next(_prefixes)}"


@contextmanager
def _apart(log: str, to: str, engine: str, count: int = 1) -> Iterator[tuple[Bufferproxy, Bufferproxy]]:
    """A proxy and a worker."""
    text = _settings(log, to, engine, count, _prefix())
    with (
        folder() as where,
        Bufferproxy("proxy", text, where) as proxy,
        Bufferproxy("worker", text, where) as worker,
    ):
        yield proxy, worker


def _settings(log: str, to: str, engine: str = "auto", count: int = 1, prefix: str = "bufferproxy") -> str:
    of_each = {"to": to, "rate": "unlimited", "backlog": {"requests": 1_000_000}}
    services = {f"s{number}": {**of_each, "match": {"path": f"/s{number}"}} for number in range(count)}
    kafka = {"replication": 1, "prefix": prefix, "client": engine}
    return json.dumps({"log": log, "kafka": kafka, "services": services})
