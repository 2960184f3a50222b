"""Text with a unit -> number, and back. Pure.

Inside the program durations are float seconds, sizes are int bytes, rates are float per second and shares
are floats from 0 to 1. `parse_x(format_x(v)) == v` for every `v` that `parse_x` can return. All parsers
raise ValueError with a message that says what to write instead.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction

DURATIONS = {
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}
SIZES = {
    "KiB": Fraction(1 << 10),
    "MiB": Fraction(1 << 20),
    "GiB": Fraction(1 << 30),
    "kB": Fraction(10**3),
    "MB": Fraction(10**6),
    "GB": Fraction(10**9),
}
RATES = {"/s": Fraction(1), "/min": Fraction(1, 60), "/h": Fraction(1, 3600)}

LONGEST = 36_500 * 86_400
"""Seconds, a hundred years: beyond it a duration is a slip, and sums with the time of day stay exact."""
LARGEST = 1 << 60
"""Bytes, an exbibyte."""
FASTEST = 10**9
"""Per second. Whoever wants more wants `unlimited`."""
_SMALLEST = Fraction(1, 10**9)

DURATION_PATTERN = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$"
SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)?(KiB|MiB|GiB|kB|MB|GB)$"
RATE_PATTERN = r"^([0-9]+(\.[0-9]+)?/(s|min|h)|unlimited)$"
PERCENT_PATTERN = r"^[0-9]+(\.[0-9]+)?%$"

# The bound on digits keeps a hostile value from becoming a number of a million of them.
_NUMBER = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)(.*)", re.DOTALL)

# What people write, and what they mean.
_SLIPS = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s", "min": "m", "mins": "m", "minute": "m",
    "minutes": "m", "hour": "h", "hours": "h", "hr": "h", "day": "d", "days": "d", "msec": "ms",
    "k": "KiB", "kb": "kB", "kib": "KiB", "m": "MiB", "mb": "MB", "mib": "MiB", "g": "GiB", "gb": "GB",
    "gib": "GiB", "ki": "KiB", "mi": "MiB", "gi": "GiB",
    "/sec": "/s", "/second": "/s", "rps": "/s", "/m": "/min", "/minute": "/min", "rpm": "/min",
    "/hour": "/h", "/hr": "/h",
}  # fmt: skip


def parse_duration(text: str) -> float:
    """Seconds."""
    seconds = _parse(text, DURATIONS, "s", "a duration like 500ms, 30s, 15m, 1h or 14d")
    if seconds > LONGEST:
        raise ValueError(f"{quoted(text)} is longer than a hundred years")
    return float(seconds)


def parse_size(text: str) -> int:
    """Bytes."""
    size = _parse(text, SIZES, "KiB", "a size like 64KiB, 1MiB, 10GiB or 500MB")
    if size > LARGEST:
        raise ValueError(f"{quoted(text)} is larger than an exbibyte")
    if size.denominator != 1:
        raise ValueError(f"{quoted(text)} is not a whole number of bytes")
    return int(size)


def parse_rate(text: str) -> float:
    """Per second; `unlimited` is infinity. Never 0."""
    if text == "unlimited":
        return math.inf
    rate = _parse(text, RATES, "/s", "a rate like 50/s, 3000/min, 100/h or unlimited")
    if rate == 0:
        raise ValueError(f"{quoted(text)} would never send anything: a rate is more than 0")
    if rate > FASTEST:
        raise ValueError(f"{quoted(text)} is more than {FASTEST}/s: write unlimited")
    return float(rate)


def parse_percent(text: str) -> float:
    """A share: 20% is 0.2."""
    share = _parse(text, {"%": Fraction(1, 100)}, "%", "a percentage like 20%")
    if share > 1:
        raise ValueError(f"{quoted(text)} is more than 100%")
    return float(share)


def format_duration(seconds: float) -> str:
    return _format(seconds, DURATIONS, "s")


def format_size(size: int) -> str:
    return _format(size, SIZES, "kB")


def format_rate(rate: float) -> str:
    return "unlimited" if rate == math.inf else _format(rate, RATES, "/s")


def format_percent(share: float) -> str:
    return _format(share, {"%": Fraction(1, 100)}, "%")


def _parse(text: str, units: dict[str, Fraction], usual: str, wanted: str) -> Fraction:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(f"{quoted(text)} is not {wanted}")
    number, unit = match.groups()
    if unit in units:
        value = Fraction(number) * units[unit]
        if 0 < value < _SMALLEST:
            raise ValueError(f"{quoted(text)} is too small to mean anything")
        return value
    if unit == "":
        raise ValueError(f"{quoted(text)} has no unit: write {number}{usual}")
    meant = _SLIPS.get(unit.strip().lower(), unit.strip())
    if meant in units:
        raise ValueError(f"{quoted(text)} is not {wanted}: write {number}{meant}")
    raise ValueError(f"{quoted(text)} is not {wanted}")


def _format(value: float, units: dict[str, Fraction], fallback: str) -> str:
    """The largest unit in which `value` is a whole number; else a decimal number of the fallback."""
    if value == 0:
        return f"0{fallback}"
    for unit, factor in sorted(units.items(), key=lambda pair: -pair[1]):
        count = round(Fraction(value) / factor)
        # Compared as floats: 1/60 has no exact float, and the one nearest to it is what "1/min" gives.
        if count and type(value)(count * factor) == value:
            return f"{count}{unit}"
    factor = units[fallback]
    exact = (Decimal(repr(value)) / factor.numerator * factor.denominator).normalize()
    return f"{exact:f}{fallback}"


def quoted(text: str) -> str:
    """For messages: what was written, cut short."""
    return f'"{text if len(text) <= 40 else text[:37] + "..."}"'
