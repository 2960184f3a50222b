"""Measures everything, or what is named: `python -m benchmarks [PART …]`, a part as in PARTS below."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.on_kafka import idle, start, trickle
from benchmarks.services import services
from benchmarks.world import (
    ask,
    cpu_of,
    drained,
    folder,
    preload,
    python,
    quiet,
    rss_of,
    settings,
    sink,
    told,
)  # fmt: skip
from bufferproxy.testing.kafka_broker import KafkaMissing, broker, kafka_jars
from bufferproxy.testing.ports import free_port
from bufferproxy.testing.processes import Bufferproxy, RecorderProcess, wait_until
from bufferproxy.testing.promises import over_ceiling, used

SECONDS = 5
CONNECTIONS = 128
DRAINED = 40_000
WORKERS = 6
SQLITE = "sqlite:./log.db"
Result = dict[str, Any]


def accept(kafka: str | None) -> Result:
    """202s per second beside the echo's 200s, with the CPU of the server's process for each."""
    found: Result = {}
    port = free_port()
    with python("benchmarks.echo", port) as child:
        url = f"http://127.0.0.1:{port}/x"
        wait_until(lambda: ask(url) is not None, "the echo")
        found["bare uvicorn ASGI echo"] = _loaded(url, child.pid, "200")
    for name, role, log in _logs(kafka, "run", "proxy"):
        # A rate that hardly drains anything, but with which `backlog.wait` is not reached either.
        with folder() as where, sink() as to, Bufferproxy(role, settings(log, to, "1/s"), where) as proxy:
            found[f"bufferproxy, {name}"] = _loaded(f"{proxy.url}/x", proxy.pid, "202")
        quiet()
    return _with_ratios(found, "bare uvicorn ASGI echo", "per_second")


def _loaded(url: str, pid: int, wanted: str) -> Result:
    """Raises RuntimeError when not every answer is the wanted status: a refusal costs something else."""
    told("benchmarks.load", url, 1, CONNECTIONS)  # warm-up
    before = cpu_of(pid)
    result = dict(told("benchmarks.load", url, SECONDS, CONNECTIONS))
    if set(result["statuses"]) != {wanted}:
        raise RuntimeError(f"not only {wanted} from {url}: {result['statuses']}")
    count = result["statuses"][wanted]
    result["cpu_us"] = round((cpu_of(pid) - before) / count * 1e6, 1)
    return result


def drain(kafka: str | None) -> Result:
    """Deliveries per second with no rate limit, 64 in flight, beside a bare aiohttp loop."""
    found: Result = {}
    with sink() as to:
        found["bare aiohttp loop"] = dict(told("benchmarks.bare_client", f"{to}/x", DRAINED))
    for name, role, log in _logs(kafka, "run", "worker"):
        with folder() as where, sink() as to:
            text = settings(log, to, "unlimited")
            preload(text, where, DRAINED)
            quiet()
            with Bufferproxy(role, text, where) as worker:
                cpu, began = cpu_of(worker.pid), int(ask(f"{to}/_count"))
                rate, _ = drained(to, DRAINED)
                cpu = (cpu_of(worker.pid) - cpu) / (DRAINED - began)
                found[f"bufferproxy, {name}"] = {"per_second": round(rate, 1), "cpu_us": round(cpu * 1e6, 1)}
    return _with_ratios(found, "bare aiohttp loop", "per_second")


def wait(kafka: str | None) -> Result:
    """What `Prefer: wait` adds to a request's latency at 200 requests a second."""
    found: Result = {}
    with sink() as to:
        found["direct"] = dict(told("benchmarks.load", f"{to}/x", SECONDS, 64, 200))
    for name, role, log in _logs(kafka, "run", "proxy"):
        with folder() as where, sink() as to, contextlib.ExitStack() as stack:
            text = settings(log, to, "unlimited")
            proxy = stack.enter_context(Bufferproxy(role, text, where))
            if role == "proxy":
                stack.enter_context(Bufferproxy("worker", text, where))
            quiet(3.0)
            told("benchmarks.load", f"{proxy.url}/x", 2, 64, 200, "Prefer: wait=20")
            result = dict(told("benchmarks.load", f"{proxy.url}/x", SECONDS, 64, 200, "Prefer: wait=20"))
            result["added_ms"] = round(result["p50_ms"] - found["direct"]["p50_ms"], 3)
            found[f"bufferproxy, {name}"] = result
    return found


def rate(kafka: str | None) -> Result:
    """How exactly 500 a second are kept while there is backlog."""
    found: Result = {}
    for name, role, log in _logs(kafka, "run", "worker"):
        with folder() as where, RecorderProcess(where) as recorder:
            text = settings(log, recorder.url, "500/s")
            preload(text, where, 5000)
            with Bufferproxy(role, text, where):
                stamps = _arrived(recorder, 5000)
            found[f"bufferproxy, {name}"] = {
                "used": round(used(stamps, 500), 4),
                "windows_over": _over(stamps, 500),
            }
    return found


def share(kafka: str | None) -> Result:
    """How much of a rate six workers use together, while one of 12 partitions has four fifths of the
    backlog, and how exactly they keep it."""
    found: Result = {}
    for rate in (500, 20, 2) if kafka is not None else ():
        with folder() as where, RecorderProcess(where) as recorder, contextlib.ExitStack() as stack:
            count = 50 * rate
            text = settings(f"kafka://{kafka}", recorder.url, f"{rate}/s", prefix=f"share{rate}")
            preload(text, where, count, skewed=True)
            for number in range(WORKERS):
                stack.enter_context(Bufferproxy("worker", text, where, f"worker-{number}"))
            quiet(5.0)  # until the last of them has its partitions
            since = time.time()
            stamps = _arrived(recorder, count)
            found[f"{rate}/s"] = {
                "used": round(used([at for at in stamps if at > since], rate), 4),
                "windows_over": _over(stamps, rate),
            }
    return found


def _arrived(recorder: RecorderProcess, count: int) -> list[float]:
    """By the kernel's stamps: a service that is slow to read moves none of them."""
    recorder.await_count(count, patience=300.0)
    return sorted(arrival.at for arrival in recorder.arrivals())


def _over(stamps: list[float], rate: float) -> dict[str, int]:
    return {
        str(window): len(over_ceiling(stamps, rate=rate, burst=1, window=window)) for window in (0.1, 1, 5)
    }


def memory(_: str | None) -> Result:
    """Resident memory, and seconds from start to ready, with little and with much backlog, and with three
    services of large bodies (SQLite)."""
    found: Result = {}
    for name, count in (("1 k", 1_000), ("1 M", 1_000_000)):
        with folder() as where, sink() as to:
            text = settings(SQLITE, to, "10/s")
            preload(text, where, count)
            proxy = Bufferproxy("run", text, where)
            began = time.perf_counter()
            with proxy:
                ready = time.perf_counter() - began
                quiet(3.0)
                found[name] = {"rss_mb": round(rss_of(proxy.pid), 1), "ready_s": round(ready, 2)}
    found["large"] = _large()
    found["difference"] = {"rss_mb": round(found["1 M"]["rss_mb"] - found["1 k"]["rss_mb"], 1)}
    return found


def _large() -> Result:
    """Three services, each with 300 requests of 512 KiB, read ahead of a service that is slow."""
    names = ("one", "two", "three")
    with folder() as where, sink() as to:
        of_each = {"to": to, "rate": "1/s", "expire": "30d", "backlog": {"requests": 10**6, "wait": "300d"}}
        services = {name: {**of_each, "match": {"path": f"/{name}"}} for name in names}
        text = json.dumps({"log": SQLITE, "services": services})
        for name in names:
            preload(text, where, 300, service=name, body=bytes(512 << 10))
        with Bufferproxy("run", text, where) as proxy:
            quiet(10.0)
            return {"rss_mb": round(rss_of(proxy.pid), 1), "read_ahead_mb": 256 * 1.048576}


def _logs(kafka: str | None, alone: str, of_many: str) -> Iterator[tuple[str, str, str]]:
    """(name, role, log) of what there is to measure."""
    yield "SQLite", alone, SQLITE
    if kafka is not None:
        yield "Kafka", of_many, f"kafka://{kafka}"


def _with_ratios(found: Result, ceiling: str, figure: str) -> Result:
    bare = found[ceiling]
    for name, result in found.items():
        if name != ceiling:
            result["ratio"] = round(result[figure] / bare[figure], 2)
            result["cpu_ratio"] = round(result["cpu_us"] / bare["cpu_us"], 2)
    return found


PARTS: dict[str, Callable[[str | None], Result]] = {
    "accept": accept,
    "drain": drain,
    "wait": wait,
    "rate": rate,
    "share": share,
    "memory": memory,
    "services": services,
    "trickle": trickle,
    "idle": idle,
    "start": start,
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"benchmarks: no part named {unknown[0]}: there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    results: Result = {"machine": report.machine()}
    for name in names or PARTS:
        # A broker for each part: what one part left in it is no burden of the next.
        with _broker() as kafka:
            print(f"measuring {name} …", file=sys.stderr)
            results[name] = PARTS[name](kafka)
    target = Path("benchmarks/results") / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=2) + "\n")
    print(report.table(results))
    print(f"\nwritten to {target}", file=sys.stderr)
    return 0


@contextlib.contextmanager
def _broker() -> Iterator[str | None]:
    try:
        jars = kafka_jars()
    except KafkaMissing as missing:
        print(f"without Kafka: {missing}", file=sys.stderr)
        yield None
        return
    with broker(jars) as running_broker:
        yield running_broker.bootstrap


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
