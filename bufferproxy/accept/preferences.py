"""What the caller asked for: `Prefer` (RFC 7240) and the ordering key. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from bufferproxy.http1.problems import Problem

SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS"})

# Elements of a list; a comma within quotes does not end one.
_ELEMENTS = re.compile(rb'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_LONGEST_DIGITS = 9
"""Digits that are read; a larger number of seconds is above every cap."""

FieldLines = Sequence[tuple[bytes, bytes]]


class Preference(NamedTuple):
    """`wait`: seconds the caller wants to be held, None when not said. `respond_async`: 202, please."""

    wait: int | None = None
    respond_async: bool = False


NONE = Preference()


def preference(headers: FieldLines) -> Preference | Problem:
    """The first of each preference counts, unknown ones are ignored, `wait` must be digits."""
    wait: int | None = None
    respond_async = False
    for name, value in headers:
        if len(name) != 6 or name.lower() != b"prefer":
            continue
        for part in _ELEMENTS.findall(value) if b'"' in value else value.split(b","):
            token, _, argument = part.split(b";", 1)[0].partition(b"=")
            token = token.strip().lower()
            if token == b"respond-async":
                respond_async = True
            elif token == b"wait" and wait is None:
                digits = argument.strip().strip(b'"')
                if not digits.isdigit():
                    return Problem(
                        "bad-preference",
                        f"Prefer: wait={argument.decode('latin-1')} is not a number of seconds",
                    )
                digits = digits.lstrip(b"0") or b"0"
                wait = int(digits) if len(digits) <= _LONGEST_DIGITS else 10**_LONGEST_DIGITS
    return Preference(wait, respond_async) if wait is not None or respond_async else NONE


class Mode(NamedTuple):
    """How this caller is answered.

    `hold`: seconds to hold the caller, 0.0 for a 202 at once. `strict`: late or foreseen to be late is a 504
    or 503 and not a 202. `applied`: the value of Preference-Applied, or None.
    """

    hold: float
    strict: bool
    applied: bytes | None


REFUSED = Mode(0.0, strict=True, applied=None)
"""`safe_methods: refuse`."""


def mode_of(method: bytes, asked: Preference, *, reply: float, safe: float | None, longest: float) -> Mode:
    """`reply` and `safe` are the service's own defaults in seconds (0.0: async; `safe` None: refuse);
    `longest` caps what a caller may ask for (`max_wait`)."""
    if asked.wait is not None:
        applied = b"respond-async, wait=%d" if asked.respond_async else b"wait=%d"
        hold = min(float(asked.wait), longest)
        return Mode(hold, strict=False, applied=applied % int(hold))
    if asked.respond_async:
        return Mode(0.0, strict=False, applied=b"respond-async")
    if method in SAFE:
        if safe is None:
            return REFUSED
        return Mode(safe, strict=safe > 0.0, applied=None)
    return Mode(reply, strict=False, applied=None)
