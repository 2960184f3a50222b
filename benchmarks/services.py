"""What services cost that nobody uses: many of them beside one, on SQLite."""

from __future__ import annotations

import json
import time
from typing import Any

from benchmarks.world import cpu_of, folder, quiet, rss_of, sink, told, wakeups_of
from bufferproxy.testing.processes import Bufferproxy

COUNTS = (1, 50, 200)
REST_SECONDS = 8.0
LOAD_SECONDS = 5
LOAD_RATE = 200
"""Requests a second of the one service that is used."""


def services(_: str | None) -> dict[str, Any]:
    """By number of services: seconds to ready; at rest, share of a core in percent, wake-ups a second and
    resident memory in MB; and CPU of a request of one of them. `each` is what one more costs."""
    found = {f"{count} services": _measured(count) for count in COUNTS}
    one, many = found[f"{COUNTS[0]} services"], found[f"{COUNTS[-1]} services"]
    more = COUNTS[-1] - COUNTS[0]
    found["each"] = {
        "rss_kib": round((many["rss_mb"] - one["rss_mb"]) * 1e6 / 1024 / more, 1),
        "request_ratio": round(many["request_cpu_us"] / one["request_cpu_us"], 3),
    }
    return found


def _measured(count: int) -> dict[str, float]:
    with folder() as where, sink() as to:
        with Bufferproxy("run", _settings(count, to), where):
            pass  # the file and its topics are made
        proxy = Bufferproxy("run", _settings(count, to), where)
        began = time.perf_counter()
        with proxy:
            ready = time.perf_counter() - began
            quiet(3.0)
            cpu, wakeups, since = cpu_of(proxy.pid), wakeups_of(proxy.pid), time.perf_counter()
            quiet(REST_SECONDS)
            rested = time.perf_counter() - since
            result = {
                "ready_s": round(ready, 2),
                "rest_cpu_percent": round((cpu_of(proxy.pid) - cpu) / rested * 100, 2),
                "rest_wakeups": round((wakeups_of(proxy.pid) - wakeups) / rested, 1),
                "rss_mb": round(rss_of(proxy.pid), 1),
            }
            load = (f"{proxy.url}/s0/x", LOAD_SECONDS, 16, LOAD_RATE)
            told("benchmarks.load", load[0], 2, *load[2:])
            cpu = cpu_of(proxy.pid)
            answered = sum(dict(told("benchmarks.load", *load))["statuses"].values())
            quiet(1.0)
            result["request_cpu_us"] = round((cpu_of(proxy.pid) - cpu) / answered * 1e6, 1)
            return result


def _settings(count: int, to: str) -> str:
    of_each = {"to": to, "rate": "unlimited", "backlog": {"requests": 1_000_000}}
    services = {f"s{number}": {**of_each, "match": {"path": f"/s{number}"}} for number in range(count)}
    return json.dumps({"log": "sqlite:./log.db", "services": services})
