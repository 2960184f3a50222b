"""The terminal while it happens: two panels that fill up; a line a second where there is no terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bufferproxy.clock import Clock
from bufferproxy.demo.measure import per_second
from bufferproxy.demo.scenario import Scenario
from bufferproxy.demo.tally import Tally

_BARS = "▁▂▃▄▅▆▇█"
_LATEST = 0.15  # what is younger may still be on its way to us: the service reports ten times a second
_FRAMES = 0.25


class Screen:
    """`begin` adds a run, `run` shows them until it is cancelled."""

    def __init__(self, console: Console, scenario: Scenario, clock: Clock) -> None:
        self._console = console
        self._scenario = scenario
        self._clock = clock
        self._tallies: list[Tally] = []

    def begin(self, tally: Tally) -> None:
        self._tallies.append(tally)

    async def run(self) -> None:
        if not self._console.is_terminal:
            await self._lines()
            return
        with Live(console=self._console, auto_refresh=False) as live:
            try:
                while True:
                    live.update(self._frame(), refresh=True)
                    await self._clock.sleep(_FRAMES)
            finally:
                live.update(self._frame(), refresh=True)

    async def _lines(self) -> None:
        while True:
            await self._clock.sleep(1.0)
            if self._tallies and not self._tallies[-1].over:
                tally = self._tallies[-1]
                self._console.print(line(tally, self._clock.now()), soft_wrap=True, highlight=False)

    def _frame(self) -> RenderableType:
        return frame(self._tallies, self._scenario, self._clock.now(), self._console.width)


def line(tally: Tally, now: float) -> str:
    """How it stands, for a file or a pipe."""
    backlog = f"  backlog {tally.backlog[-1][1]}" if tally.backlog else ""
    return (
        f"{tally.title} {now - tally.began:3.0f} s:"
        f"  arrivals {recent(tally.sent, now)}/s  at the service {recent(tally.arrived, now)}/s"
        f"  deliveries {recent(tally.served, now)}/s  failures {recent(tally.failed, now)}/s{backlog}"
        f"  service latency {latency(tally, now)}"
    )


def recent(times: Sequence[float], now: float) -> int:
    """How many there were in the last second."""
    return sum(now - 1 - _LATEST < at <= now - _LATEST for at in times)


def latency(tally: Tally, now: float) -> str:
    """What the service took on average for what it answered in the last second."""
    taken = [ending.seconds for ending in tally.ended if ending.at > now - 1 - _LATEST]
    return f"{sum(taken) / len(taken):.2f} s" if taken else "-"


def frame(tallies: Sequence[Tally], scenario: Scenario, now: float, width: int) -> RenderableType:
    if not tallies:
        return Text("Starting a fragile service ...", style="dim")
    return Group(*(_panel(tally, scenario, now, width) for tally in tallies))


def _panel(tally: Tally, scenario: Scenario, now: float, width: int) -> RenderableType:
    # Four columns stay free: the ^C that a terminal prints would else wrap and shift the last frame.
    space = max(10, min(56, width - 48))
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    table.add_column(width=14)
    table.add_column(width=space, no_wrap=True)
    table.add_column(justify="right", width=9)
    table.add_column(justify="right", width=11)
    series = [("arrivals", tally.sent, "blue"), ("at the service", tally.arrived, "cyan")]
    series += [("deliveries", tally.served, "green"), ("failures", tally.failed, "red")]
    for name, times, style in series:
        bars = spark(per_second(times, tally.began, 1.0), scenario.offered, space)
        rate = "" if tally.over else f"{recent(times, now)}/s"
        table.add_row(name, Text(bars, style=style), rate, f"{len(times)}")
    if tally.buffered:
        seen = [float(count) for at, count in _each_second(tally)]
        most = max(seen, default=1.0)
        left = tally.backlog[-1][1] if tally.backlog else 0
        table.add_row("backlog", Text(spark(seen, most, space), style="yellow"), "", f"{left}")
    table.add_row("latency there", _mood(tally), "", "" if tally.over else latency(tally, now))
    limit = f"ceiling {tally.limit:g}/s" if tally.buffered else f"capacity {tally.limit:g}/s"
    elapsed = "" if tally.over else f"  {now - tally.began:.0f} s"
    title = f"[bold]{tally.title}[/]  [dim]{limit}{elapsed}[/]"
    return Panel(table, title=title, title_align="left", box=box.ROUNDED, border_style="dim", expand=False)


def _mood(tally: Tally) -> Text:
    """What the service itself says of how it is."""
    report = tally.now
    if report is None or tally.over:
        return Text("")
    if report.down:
        return Text("it crashed and is being restarted", style="bold red")
    crowd = f"{report.working} at work, {report.waiting} wait for a connection"
    return Text(crowd, style="red" if report.waiting > report.working else "dim")


def _each_second(tally: Tally) -> list[tuple[int, int]]:
    """The last backlog seen in each second."""
    return sorted({int(at - tally.began): count for at, count in tally.backlog}.items())


def spark(rates: Sequence[float], full: float, space: int) -> str:
    """A bar for each rate, the last `space` of them; one that fills the line stands for `full`."""
    return "".join(_bar(rate / full if full else 0.0) for rate in rates[-space:])


def _bar(share: float) -> str:
    if share <= 0:
        return " "
    return _BARS[min(len(_BARS) - 1, int(share * len(_BARS)))]
