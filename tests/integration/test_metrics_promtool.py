"""Prometheus' own linter reads what we export."""

from __future__ import annotations

import os
import shutil
import subprocess
from math import inf
from pathlib import Path

import pytest

from bufferproxy.observe.events import (
    Accepted,
    Attempted,
    DeadLettered,
    Events,
    Finished,
    Held,
    RetryScheduled,
)
from bufferproxy.observe.gauges import GaugeReading
from bufferproxy.observe.meters import Meters
from bufferproxy.observe.metrics import Metrics


@pytest.fixture(scope="session")
def promtool() -> str:
    """Installed when it is missing and we may; otherwise the test is skipped, or fails where CI is set."""
    found = shutil.which("promtool")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        command = ["apt-get", "install", "--yes", "--no-install-recommends", "prometheus"]
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL, timeout=150, check=False)
        found = shutil.which("promtool")
    if found is None:
        reason = "no promtool here (Debian package: prometheus)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def busy() -> Metrics:
    meters, events = Meters(["auth", "mail"]), Events()
    meters.subscribe(events)
    metrics = Metrics(meters, "1.2.3")
    metrics.register("auth", lambda: GaugeReading(3, 2, 1, 600, 1.7e9, inf, 1, inf, 40.0, 20.0, 7, 4, 12))
    for event in (
        Accepted("auth", 512, 0.003),
        Attempted("auth", "success", 0.02, 1.5),
        Finished("auth", "delivered"),
        RetryScheduled("auth", "5xx", 1.0),
        DeadLettered("auth", "attempts"),
        Held("auth", "ceiling", 0.5),
    ):
        events.emit(event)
    return metrics


def test_promtool_finds_nothing_to_complain_about(promtool: str) -> None:
    metrics = busy()
    text = metrics.render(metrics.take()).body
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=60)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_the_queries_of_the_reference_page_are_promql(promtool: str, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text()
    queries = [block.split("```", 1)[0].strip() for block in page.split("```promql\n")[1:]]
    assert queries
    rules = "groups:\n- name: reference\n  rules:\n"
    for number, query in enumerate(queries):
        indented = query.replace("\n", "\n      ")
        rules += f"  - record: reference:query_{number}\n    expr: |\n      {indented}\n"
    file = tmp_path / "rules.yaml"
    file.write_text(rules)
    checked = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr
