"""The whole demo: both runs with the live view, then table, verdict and plot."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from rich.console import Console

from bufferproxy.clock import SystemClock
from bufferproxy.demo.measure import kept, verdict
from bufferproxy.demo.plot import plot
from bufferproxy.demo.scenario import Scenario
from bufferproxy.demo.story import straight, through
from bufferproxy.demo.table import table
from bufferproxy.demo.tally import Tally
from bufferproxy.demo.view import Screen
from bufferproxy.errors import BufferproxyError

PLOT = Path("bufferproxy-demo.svg")
_INTERRUPTED = 130


def play(scenario: Scenario | None = None) -> int:
    """What the process ends with: 0 only when all was served through bufferproxy and the ceiling was kept,
    130 after a Ctrl-C. Data goes to stdout, everything else to stderr."""
    scenario = scenario or Scenario()
    messages = Console(stderr=True, highlight=False)
    if PLOT.is_dir() or not os.access(PLOT if PLOT.exists() else PLOT.absolute().parent, os.W_OK):
        raise BufferproxyError(f"./{PLOT}: cannot be written here")
    try:
        tallies = asyncio.run(_runs(scenario, messages))
    except* BufferproxyError as failed:
        # From inside a task group. The first is the cause; others are what it tore down.
        raise _first(failed) from None
    if tallies is None:
        messages.print("Interrupted: the service and the proxy are stopped, their files are gone.")
        return _INTERRUPTED
    return _tell(scenario, *tallies, messages)


async def _runs(scenario: Scenario, messages: Console) -> tuple[Tally, Tally] | None:
    """None: interrupted, with everything taken down."""
    clock = SystemClock()
    screen = Screen(messages, scenario, clock)
    loop = asyncio.get_running_loop()
    playing = asyncio.ensure_future(_both(scenario, screen, clock))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, playing.cancel)
    try:
        return await playing
    except asyncio.CancelledError:
        return None


async def _both(scenario: Scenario, screen: Screen, clock: SystemClock) -> tuple[Tally, Tally]:
    async with asyncio.TaskGroup() as group:
        showing = group.create_task(screen.run())
        tallies = (
            await straight(scenario, clock, screen.begin),
            await through(scenario, clock, screen.begin),
        )
        showing.cancel()
    return tallies


def _tell(scenario: Scenario, without: Tally, buffered: Tally, messages: Console) -> int:
    out = Console(highlight=False)
    if not out.is_terminal:
        out = Console(highlight=False, width=100)
    out.print(table(scenario, without, buffered))
    PLOT.write_text(plot(scenario, without, buffered), encoding="utf-8")
    wrong = verdict(scenario, buffered)
    for sentence in wrong:
        messages.print(sentence, style="bold red", markup=False)
    if not wrong:
        out.print(kept(scenario, buffered))
    out.print(f"./{PLOT}", soft_wrap=True)
    return 1 if wrong else 0


def _first(group: BaseExceptionGroup[BufferproxyError]) -> BufferproxyError:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
