"""The end of it, in numbers. All of them measured."""

from __future__ import annotations

from rich import box
from rich.table import Table

from bufferproxy.demo.measure import Summary, summary
from bufferproxy.demo.scenario import Scenario
from bufferproxy.demo.spike import Fate
from bufferproxy.demo.tally import Tally

_FAILURES = {
    Fate.REFUSED: "  answered 503",
    Fate.TIMEOUT: "  timed out",
    Fate.RESET: "  connection reset",
    Fate.OTHER: "  otherwise",
}


def table(scenario: Scenario, straight: Tally, through: Tally) -> Table:
    left, right = summary(straight), summary(through)
    table = Table(box=box.SIMPLE_HEAD, title=heading(scenario), title_justify="left", title_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column(straight.title, justify="right")
    table.add_column(through.title, justify="right")
    for name, one, two in rows(left, right):
        style = "bold" if name in {"served", "failed", "peak arrivals there in 1 s"} else None
        table.add_row(name, one, two, style=style)
    return table


def heading(scenario: Scenario) -> str:
    return (
        f"{scenario.offered:g} requests/s for {scenario.spike:g} s at a service that can do"
        f" {scenario.capacity:g}/s; ceiling {scenario.ceiling}/s"
    )


def rows(straight: Summary, through: Summary) -> list[tuple[str, str, str]]:
    pair = (straight, through)
    failures = [
        (name, *(str(one.failures.get(fate, 0)) for one in pair))
        for fate, name in _FAILURES.items()
        if any(fate in one.failures for one in pair)
    ]
    lines = [
        ("sent", *(str(one.sent) for one in pair)),
        ("served", *(f"{one.served} ({_percent(one)})" for one in pair)),
        ("failed", *(str(one.failed) for one in pair)),
        *failures,
        ("worst service latency", *(_seconds(one.slowest) for one in pair)),
        (
            "longest wait of a caller",
            _seconds(straight.longest),
            f"{_seconds(through.longest)} (for its 202)",
        ),
        ("last one served after", *(_seconds(one.last) for one in pair)),
        ("peak arrivals there in 1 s", *(f"{one.peak}" for one in pair)),
        ("peak arrivals there in 0.1 s", *(f"{one.burst}" for one in pair)),
    ]
    return [(name, one, two) for name, one, two in lines]


def _percent(one: Summary) -> str:
    """Never rounded up to all of them."""
    return f"{int(100 * one.served / one.sent) if one.sent else 0} %"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
