"""The machine, and the table."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("bufferproxy", "kafka-python", "uvicorn", "httptools", "uvloop", "aiohttp")


def machine() -> dict[str, Any]:
    told = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.split(":", 1)[1].strip() for line in told if line.startswith("model name"))
    return {
        "cpu": next(models, platform.processor()),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "system": platform.release(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def table(results: dict[str, Any]) -> str:
    """Markdown: one row a measurement."""
    rows = ["| | per second | of the bare ceiling | p50 | p99 | CPU each |", "|---|---|---|---|---|---|"]
    for part in ("accept", "drain", "wait"):
        for name, found in results.get(part, {}).items():
            rows.append(
                f"| {part}: {name} | {_number(found.get('per_second'))} | {_number(found.get('ratio'))} "
                f"| {_ms(found.get('p50_ms'))} | {_ms(found.get('p99_ms'))} | {_us(found.get('cpu_us'))} |"
            )
    lines = ["\n".join(rows)] if len(rows) > 2 else []
    for name, found in results.get("wait", {}).items():
        if "added_ms" in found:
            lines.append(f"`wait` adds {found['added_ms']:.1f} ms at the median ({name}, 200 requests/s).")
    for name, found in results.get("rate", {}).items():
        lines.append(f"500/s: {_used(found)} ({name}).")
    for name, found in results.get("share", {}).items():
        lines.append(f"Six workers, {name}: {_used(found)}.")
    if "memory" in results:
        found = results["memory"]
        lines.append(
            f"With 1 M requests of backlog: ready in {found['1 M']['ready_s']} s, "
            f"{found['1 M']['rss_mb']} MB resident ({found['difference']['rss_mb']:+} MB against 1 k)."
        )
        lines.append(
            f"Three services with 300 requests of 512 KiB each: {found['large']['rss_mb']} MB resident "
            f"(`memory` is {found['large']['read_ahead_mb']:.0f} MB)."
        )
    for name, found in results.get("services", {}).items():
        if "rest_wakeups" in found:
            lines.append(
                f"{name}: ready in {found['ready_s']} s; at rest {found['rest_cpu_percent']} % of a core, "
                f"{found['rest_wakeups']} wake-ups/s, {found['rss_mb']} MB; a request of one of them "
                f"{found['request_cpu_us']:.0f} µs CPU."
            )
        else:
            lines.append(
                f"One service more: {found['rss_kib']} KiB; a request with all of them costs "
                f"{found['request_ratio']:.2f} of what it costs alone."
            )
    lines += _on_kafka(results)
    return "\n\n".join(lines)


def _on_kafka(results: dict[str, Any]) -> list[str]:
    lines = []
    for name, found in results.get("trickle", {}).items():
        lines.append(f"At 90/s a request costs {found['cpu_ms']} ms of CPU in all our processes ({name}).")
    for name, found in results.get("idle", {}).items():
        lines.append(
            f"Nothing to do, {name}: {found['cpu_percent']} % of a core, {found['wakeups']} wake-ups/s, "
            f"{found['rss_mb']} MB."
        )
    for name, found in results.get("start", {}).items():
        lines.append(
            f"A worker with {name}: ready in {found['ready_s']} s, what waited delivered in "
            f"{found['delivered_s']} s."
        )
    return lines


def _used(found: dict[str, Any]) -> str:
    over = ", ".join(f"{count} of {window} s" for window, count in found["windows_over"].items())
    return f"{found['used']:.1%} used; windows over the ceiling: {over}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value > 100 else f"{value:.2f}"


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} ms"


def _us(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} µs"
