"""What people look at: the plot, the live view, the table."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree as ET

from rich.console import Console

from bufferproxy.demo.plot import plot
from bufferproxy.demo.reports import Ending, How, Report
from bufferproxy.demo.scenario import Scenario
from bufferproxy.demo.spike import Call, Fate
from bufferproxy.demo.table import table
from bufferproxy.demo.tally import Standing, Tally
from bufferproxy.demo.view import frame, line, spark

SVG = "{http://www.w3.org/2000/svg}"
SCENARIO = Scenario(spike=2.0)


def without() -> Tally:
    """Six hundred sent in two seconds; every fourth was served."""
    tally = Tally("straight at the service", 50.0, 100, buffered=False)
    for index in range(600):
        at = 50.0 + index / 300
        tally.sending(at)
        tally.called(Call(at, at + 0.5, Fate.SERVED if index % 4 == 0 else Fate.REFUSED))
    tally.heard(Report(list(tally.sent), [Ending(52.0, 1.25, How.OK, "")], 10, 150, down=False))
    return tally


def buffered() -> Tally:
    """The same, all served at 90/s."""
    tally = Tally("through bufferproxy", 80.0, 90, buffered=True)
    for index in range(600):
        at = 80.0 + index / 300
        tally.sending(at)
        tally.called(Call(at, at + 0.01, Fate.ACCEPTED, str(index)))
    arrived = [80.0 + index / 90 for index in range(600)]
    endings = [Ending(at + 0.1, 0.1, How.OK, str(index)) for index, at in enumerate(arrived)]
    tally.stands(82.0, Standing(600, 180, 180))
    tally.heard(Report(arrived, endings, 0, 0, down=False))
    tally.stands(87.0, Standing(600, 600, 600))
    return tally


def texts(svg: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter(f"{SVG}text"))


def test_the_plot_is_well_formed_and_says_what_it_shows() -> None:
    said = [element.text for element in texts(plot(SCENARIO, without(), buffered()))]
    for expected in (
        "A spike, without and with bufferproxy",
        "Straight at the service",
        "Through bufferproxy",
        "capacity 100/s",
        "ceiling 90/s",
        "150 of 600 served",
        "600 of 600 served",
        "most that waited in the log: 420",
        "requests per second",
    ):
        assert expected in said


def test_nothing_of_the_plot_is_outside_of_it() -> None:
    svg = plot(SCENARIO, without(), buffered())
    for element in texts(svg):
        assert 0 < float(element.attrib["x"]) < 960
        assert 0 < float(element.attrib["y"]) < 744
    for path in ET.fromstring(svg).iter(f"{SVG}path"):
        for letter, numbers in re.findall(r"([MHV])([\d. -]+)", path.attrib["d"]):
            limits = [960, 744] if letter == "M" else [744] if letter == "V" else [960]
            for number, limit in zip(numbers.split(), limits, strict=True):
                assert 0 <= float(number) <= limit


def test_both_runs_are_drawn_on_the_same_scale() -> None:
    paths = ET.fromstring(plot(SCENARIO, without(), buffered())).iter(f"{SVG}path")
    lines = [path.attrib["d"] for path in paths if path.attrib["class"] == "arrivals"]
    straight, through = (line for line in lines if "H" in line)
    assert re.findall(r"H([\d.]+)", straight) == re.findall(r"H([\d.]+)", through)


def test_the_plot_has_colours_for_dark_screens() -> None:
    assert "prefers-color-scheme: dark" in plot(SCENARIO, without(), buffered())


def test_a_run_in_which_nothing_happened_is_plotted_too() -> None:
    nothing = Tally("straight at the service", 50.0, 100, buffered=False)
    assert "0 of 0 served" in plot(SCENARIO, nothing, nothing)


def test_a_line_of_the_view_says_how_it_stands() -> None:
    assert line(without(), 52.05) == (
        "straight at the service   2 s:  arrivals 300/s  at the service 300/s  deliveries 75/s"
        "  failures 225/s  service latency 1.25 s"
    )


def test_bars_are_as_high_as_their_share() -> None:
    assert spark([0.0, 1.0, 150.0, 300.0, 400.0], 300.0, 10) == " ▁▅██"
    assert spark([1.0, 300.0], 300.0, 1) == "█"


def test_the_view_fits_a_narrow_terminal() -> None:
    for width in (60, 80, 120):
        console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
        console.print(frame([without(), buffered()], SCENARIO, 87.0, width))
        shown = console.file.getvalue().splitlines()
        assert "through bufferproxy" in "".join(shown)
        assert len(shown) <= 22


def test_before_anything_began_the_view_says_so() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(frame([], SCENARIO, 0.0, 80))
    assert "Starting" in console.file.getvalue()


def test_the_table_sets_both_runs_side_by_side() -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(table(SCENARIO, without(), buffered()))
    shown = [" ".join(row.split()) for row in console.file.getvalue().splitlines()]
    assert "sent 600 600" in shown
    assert "served 150 (25 %) 600 (100 %)" in shown
    assert "failed 450 0" in shown
    assert "worst service latency 1.25 s 0.10 s" in shown
