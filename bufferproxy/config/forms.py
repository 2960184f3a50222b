"""How each kind of value is written: text in, value out, text again, and its JSON Schema.

Every form also takes the value that it makes, so that `Settings` can be built in Python and its JSON dump
loads again. Text never passes as a number: the loader hands over text only, so a file's `30` reaches
`Duration` as "30" and is told to carry a unit.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic_core import core_schema

from bufferproxy.config import units
from bufferproxy.config.units import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """Pydantic metadata. `parse` raises ValueError in words for the person who wrote the value."""

    parse: Callable[[Any], Any]
    show: Callable[[Any], Any]
    schema: Mapping[str, Any]

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        shown = core_schema.plain_serializer_function_ser_schema(self.show, when_used="json-unless-none")
        return core_schema.no_info_plain_validator_function(self.parse, serialization=shown)

    def __get_pydantic_json_schema__(self, _schema: Any, _handler: Any) -> dict[str, Any]:
        return dict(self.schema)


def text_of(value: Any, wanted: str) -> str:
    """`value`, if it is text that is not empty. Raises ValueError."""
    if not isinstance(value, str):
        got = {dict: "a map", list: "a list", type(None): "nothing"}.get(type(value), repr(value))
        raise ValueError(f"must be {wanted}, not {got}")
    if value == "":
        raise ValueError(f"is empty: must be {wanted}")
    return str(value)


def written(schema: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "string", **schema, **more}


# --- numbers with a unit --------------------------------------------------------------------------------


def _quantity(
    kind: type[float | int],
    parse: Callable[[str], Any],
    show: Callable[[Any], str],
    pattern: str,
    example: str,
    *,
    zero: bool,
) -> Form:
    def checked(value: Any) -> Any:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            number = kind(value)
        else:
            number = parse(text_of(value, example))
        if number < 0 or (number == 0 and not zero):
            raise ValueError("must be more than 0")
        return number

    return Form(checked, show, written({"pattern": pattern}))


def _durations(*, zero: bool) -> Form:
    return _quantity(
        float,
        units.parse_duration,
        units.format_duration,
        units.DURATION_PATTERN,
        "a duration like 30s",
        zero=zero,
    )


def _sizes(*, zero: bool) -> Form:
    return _quantity(
        int, units.parse_size, units.format_size, units.SIZE_PATTERN, "a size like 1MiB", zero=zero
    )


def _percents(*, zero: bool) -> Form:
    return _quantity(
        float,
        units.parse_percent,
        units.format_percent,
        units.PERCENT_PATTERN,
        "a percentage like 20%",
        zero=zero,
    )


Duration = Annotated[float, _durations(zero=True)]
"""Seconds, 0 or more."""
Span = Annotated[float, _durations(zero=False)]
"""Seconds, more than 0."""
Size = Annotated[int, _sizes(zero=True)]
"""Bytes, 0 or more."""
Extent = Annotated[int, _sizes(zero=False)]
"""Bytes, more than 0."""
Rate = Annotated[
    float,
    _quantity(float, units.parse_rate, units.format_rate, units.RATE_PATTERN, "a rate like 50/s", zero=False),
]
"""Per second, more than 0; infinity is `unlimited`."""
Percent = Annotated[float, _percents(zero=True)]
"""A share from 0 to 1."""
Portion = Annotated[float, _percents(zero=False)]
"""A share of more than 0, up to 1."""


# --- numbers, switches, words -----------------------------------------------------------------------------


def whole(minimum: int, maximum: int = 10**12) -> Form:
    """A whole number within bounds, both included."""

    def parse(value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            number = value
        else:
            text = text_of(value, "a whole number")
            if not (text.isascii() and text.lstrip("-").isdecimal() and len(text) < 20):
                raise ValueError(f"must be a whole number, not {quoted(text)}")
            number = int(text)
        if not minimum <= number <= maximum:
            bounds = f"at least {minimum}" if number < minimum else f"at most {maximum}"
            raise ValueError(f"must be {bounds}, not {number}")
        return number

    return Form(parse, int, {"type": "integer", "minimum": minimum, "maximum": maximum})


Count = Annotated[int, whole(1)]
Amount = Annotated[int, whole(0)]


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = text_of(value, "true or false")
    if text not in ("true", "false"):
        raise ValueError(f"must be true or false, not {quoted(text)}")
    return text == "true"


Switch = Annotated[bool, Form(_switch, bool, {"type": "boolean"})]


class Choice:
    """Pydantic metadata for a Literal: one of its words."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        words = get_args(source)
        return core_schema.no_info_before_validator_function(
            lambda value: one_of(value, words), handler(source)
        )


def one_of(value: Any, words: tuple[str, ...]) -> str:
    listed = f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
    text = text_of(value, listed)
    if text in words:
        return text
    close = difflib.get_close_matches(text.lower(), words, 1)
    raise ValueError(f"must be {listed}, not {quoted(text)}" + (f": write {close[0]}" if close else ""))


def _line(value: Any) -> str:
    text = text_of(value, "text")
    if not text.isprintable():
        raise ValueError("must be one line of printable text")
    return text


Text = Annotated[str, Form(_line, str, {"type": "string", "minLength": 1})]
FilePath = Annotated[str, Form(_line, str, {"type": "string", "minLength": 1})]
