"""The picture: both runs one above the other, on the same scales. SVG by hand; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple
from xml.sax.saxutils import escape

from bufferproxy.demo.measure import per_second, summary
from bufferproxy.demo.scenario import Scenario
from bufferproxy.demo.tally import Tally

BIN = 1.0
"""Seconds a step of the curves stands for."""

_WIDTH, _HEIGHT = 960, 744
_LEFT, _RIGHT = 64, 930
_TALL = 216
_TOPS = (156, 464)

_LIGHT = {
    "paper": "#ffffff",
    "ink": "#1b2430",
    "soft": "#596778",
    "grid": "#e4e9ee",
    "arrivals": "#2f5d9b",
    "served": "#2a9d78",
    "failed": "#dd6b78",
    "limit": "#9a5b00",
}
_DARK = {
    "paper": "#12171e",
    "ink": "#e6ebf1",
    "soft": "#98a6b5",
    "grid": "#28313c",
    "arrivals": "#8db8f0",
    "served": "#35b58b",
    "failed": "#c94f60",
    "limit": "#f2b44c",
}
_SHAPES = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
         paint-order: stroke; stroke-width: 4px; stroke-linejoin: round; }
  .title { font-size: 21px; font-weight: 650; }
  .name { font-size: 15px; font-weight: 650; }
  .big { font-size: 26px; font-weight: 700; }
  .end { text-anchor: end; }
  .middle { text-anchor: middle; }
  .crowd { fill-opacity: .1; }
  .arrivals { fill: none; stroke-width: 2; stroke-linejoin: round; }
  .limit { stroke-width: 2; stroke-dasharray: 7 5; }
"""


class Place(NamedTuple):
    """One panel: `top` in pixels, `seconds` and `most` (per second) at the ends of its axes."""

    top: float
    seconds: float
    most: float

    def x(self, seconds: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * seconds / self.seconds, 1)

    def y(self, rate: float) -> float:
        return round(self.top + _TALL * (1 - rate / self.most), 1)


class Curves(NamedTuple):
    """Rates by bin. `ended`: served and failed together."""

    sent: list[float]
    served: list[float]
    failed: list[float]
    ended: list[float]


def plot(scenario: Scenario, straight: Tally, through: Tally) -> str:
    """A whole SVG document."""
    tallies = (straight, through)
    curves = [_curves(tally) for tally in tallies]
    seconds = _round_up(max(len(curve) for each in curves for curve in each) * BIN, 5) or 5
    rates = [rate for each in curves for curve in each for rate in curve]
    most = _round_up(max([scenario.offered, *rates]) * 1.05, 50)
    parts = [*_heading(scenario), *_legend()]
    for top, tally, each in zip(_TOPS, tallies, curves, strict=True):
        parts += _panel(Place(top, seconds, most), tally, each)
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{_said(tallies)}">'
    return "\n".join([opening, f"<style>{style()}</style>", *parts, "</svg>", ""])


def style() -> str:
    """Every colour is said outright, and again for dark: not every viewer of SVG knows variables."""
    return f"{_colours(_LIGHT)}{_SHAPES}  @media (prefers-color-scheme: dark) {{{_colours(_DARK)}  }}\n"


def _colours(palette: Mapping[str, str]) -> str:
    rules = [
        ("text", "fill", "ink"),
        ("text", "stroke", "paper"),
        (".paper", "fill", "paper"),
        ("text.soft", "fill", "soft"),
        (".grid", "stroke", "grid"),
        (".axis", "stroke", "soft"),
        (".arrivals", "stroke", "arrivals"),
        (".crowd", "fill", "arrivals"),
        (".served", "fill", "served"),
        (".failed", "fill", "failed"),
        (".limit", "stroke", "limit"),
        ("text.limits", "fill", "limit"),
    ]
    return "\n" + "".join(f"  {who} {{ {what}: {palette[colour]}; }}\n" for who, what, colour in rules)


def _said(tallies: Iterable[Tally]) -> str:
    """For who cannot see it."""
    each = [f"{len(tally.served)} of {len(tally.sent)} requests served {tally.title}" for tally in tallies]
    return escape("; ".join(each), {'"': "&quot;"})


def _heading(scenario: Scenario) -> list[str]:
    times = f"{scenario.overload:.0%}".replace("%", " %")
    spike = f"{scenario.offered:g} requests/s for {scenario.spike:g} s, {times} of what the service can do."
    return [
        f'<rect class="paper" width="{_WIDTH}" height="{_HEIGHT}"/>',
        _text(_LEFT, 42, "A spike, without and with bufferproxy", "title"),
        _text(_LEFT, 66, f"{spike} Answers and failures stand where they came.", "soft"),
    ]


def _legend() -> list[str]:
    at, y, parts = _LEFT, 98, []
    for shape, name in (
        ("arrivals", "arrivals from callers"),
        ("served", "deliveries, answered 200"),
        ("failed", "failures: 503, time-out, reset"),
        ("limit", "capacity, or ceiling"),
    ):
        if shape in {"served", "failed"}:
            parts.append(f'<rect class="{shape}" x="{at}" y="{y - 10}" width="14" height="11" rx="2"/>')
        else:
            parts.append(f'<path class="{shape}" d="M{at - 2} {y - 4.5}h18"/>')
        parts.append(_text(at + 21, y, name))
        at += 52 + 7 * len(name)
    return parts


def _panel(place: Place, tally: Tally, curves: Curves) -> list[str]:
    outline = _outline(place, curves.sent)
    return [
        *_axes(place),
        f'<path class="crowd" d="{outline}"/>',
        f'<path class="failed" d="{_area(place, curves.ended, curves.failed)}"/>',
        f'<path class="served" d="{_area(place, curves.served, curves.served)}"/>',
        f'<path class="arrivals" d="{outline}"/>',
        *_limit(place, tally),
        *_numbers(place, tally),
    ]


def _curves(tally: Tally) -> Curves:
    sent, served, failed = (per_second(x, tally.began, BIN) for x in (tally.sent, tally.served, tally.failed))
    ended = [good + bad for good, bad in zip_longest(served, failed, fillvalue=0.0)]
    return Curves(sent, served, failed, ended)


def _axes(place: Place) -> list[str]:
    parts = []
    for rate in range(0, int(place.most) + 1, 100):
        y = place.y(rate)
        parts.append(f'<path class="{"axis" if rate == 0 else "grid"}" d="M{_LEFT} {y}H{_RIGHT}"/>')
        parts.append(_text(_LEFT - 9, y + 4.5, str(rate), "soft end"))
    step = 5 if place.seconds <= 60 else 10
    for second in range(0, int(place.seconds) + 1, step):
        x, base = place.x(second), place.top + _TALL
        parts.append(f'<path class="axis" d="M{x} {base}v5"/>')
        parts.append(_text(x, base + 20, f"{second} s", "soft middle"))
    return parts


def _limit(place: Place, tally: Tally) -> list[str]:
    y = place.y(tally.limit)
    name = "ceiling" if tally.buffered else "capacity"
    return [
        f'<path class="limit" d="M{_LEFT} {y}H{_RIGHT}"/>',
        _text(_RIGHT, y - 7, f"{name} {tally.limit:g}/s", "limits end"),
    ]


def _numbers(place: Place, tally: Tally) -> list[str]:
    what = summary(tally)
    top = place.top
    lines = [f"busiest second at the service: {what.peak} requests"]
    if tally.buffered:
        most = max((count for _, count in tally.backlog), default=0)
        lines.append(f"most that waited in the log: {_grouped(most)}")
    worst = "-" if what.slowest is None else f"{what.slowest:.2f} s"
    lines.append(f"worst latency of the service: {worst}")
    said = f"{_grouped(what.served)} of {_grouped(what.sent)} served"
    return [
        _text(_LEFT, top - 14, tally.title[0].upper() + tally.title[1:], "name"),
        _text(_LEFT + 200, top - 14, "requests per second", "soft"),
        _text(_RIGHT, top + 26, said, "big end"),
        *(_text(_RIGHT, top + 50 + 19 * index, text, "soft end") for index, text in enumerate(lines)),
    ]


def _area(place: Place, upper: Sequence[float], thickness: Sequence[float]) -> str:
    """Steps along `upper`, as thick as `thickness` below it. Nothing where that is nothing."""
    parts = []
    for index, (rate, thick) in enumerate(zip(upper, thickness, strict=False)):
        if thick > 0:
            left, right = place.x(index * BIN), place.x(min((index + 1) * BIN, place.seconds))
            parts.append(f"M{left} {place.y(rate)}H{right}V{place.y(rate - thick)}H{left}Z")
    return "".join(parts)


def _outline(place: Place, rates: Sequence[float]) -> str:
    base = place.top + _TALL
    steps = [f"V{place.y(rate)}H{place.x((index + 1) * BIN)}" for index, rate in enumerate(rates)]
    return f"M{_LEFT} {base}{''.join(steps)}V{base}"


def _text(x: float, y: float, text: str, kind: str = "plain") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>'


def _grouped(number: int) -> str:
    """Thousands apart by a thin space."""
    return f"{number:,}".replace(",", "\u2009")


def _round_up(value: float, step: int) -> float:
    return math.ceil(value / step) * step
