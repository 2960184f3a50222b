"""A row for each fault: what the long run (`make soak`) prints as a table."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from typing import TYPE_CHECKING, NamedTuple

import pytest

from bufferproxy.testing.history import History, repeats
from bufferproxy.testing.promises import fullest
from bufferproxy.testing.world import World, kafka_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HEAD = "| fault | count | outcome | requests | accepted | repeats | allowed | fullest 0.1 s | fullest 1 s |"


class Row(NamedTuple):
    fault: str
    count: int
    requests: int
    accepted: int
    repeats: int
    allowed: int
    fullest: tuple[int, int]

    def line(self, outcome: str) -> str:
        counts = (self.requests, self.accepted, self.repeats, self.allowed, *self.fullest)
        return f"| {self.fault} | {self.count} | {outcome} | {' | '.join(map(str, counts))} |"


ROWS = pytest.StashKey[list[Row]]()
LINES = pytest.StashKey[list[str]]()
FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[[str, int, History], None]:
    """`record("kill -9 of the proxy", 10, history)`: before it is judged."""
    rows = request.node.stash.setdefault(ROWS, [])

    def note(fault: str, count: int, history: History) -> None:
        times = [attempt.at for attempt in history.attempts]
        row = Row(
            fault,
            count,
            len(history.accepts),
            len(history.stored),
            len(repeats(history.attempts)),
            sum(one.repeats for one in history.faults),
            (fullest(times, 0.1), fullest(times, 1.0)),
        )
        rows.append(row)
        print(f"\n{HEAD}\n{row.line('?')}", end="")

    return note


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """`tell("power loss: 200 states")`: a line below the table, for what no history counts."""
    figures = request.config.stash.setdefault(FIGURES, [])

    def note(line: str) -> None:
        figures.append(line)
        print(f"\n{line}", end="")

    return note


@pytest.fixture(scope="session")
def strace() -> None:
    """Skipped where strace is missing or may not trace; in CI that is a failure, lest nobody notices."""
    if shutil.which("strace") is None:
        why = "no strace on the PATH"
    else:
        tried = subprocess.run(["strace", "-f", "true"], capture_output=True, check=False)
        why = tried.stderr.decode()[-200:] if tried.returncode else ""
    if why:
        assert not os.environ.get("CI"), why
        pytest.skip(f"system calls cannot be watched, nor made to fail: {why}")


@pytest.fixture
def short_session(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """A world on Kafka whose members are given up after 3 s without a heartbeat."""
    bootstrap = request.getfixturevalue("kafka_broker").bootstrap
    place = kafka_place(bootstrap, f"t{uuid.uuid4().hex[:8]}", options={"session_timeout_ms": 3000})
    with World(tmp_path, place) as world:
        yield world


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call":
        lines = item.config.stash.setdefault(LINES, [])
        lines.extend(row.line(report.outcome) for row in item.stash.get(ROWS, []))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines, figures = config.stash.get(LINES, []), config.stash.get(FIGURES, [])
    if (lines or figures) and config.getoption("--long"):
        terminalreporter.section("faults")
        for line in (HEAD, "|---" * HEAD.count("| ") + "|", *lines, "", *figures):
            terminalreporter.write_line(line)
