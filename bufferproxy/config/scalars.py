"""What stands in a file, an environment variable or a flag: text. The settings' forms make values of it.

YAML's own guesses are not used: they turn `10:30` into 630, `on` into true and `007` into 7 before anyone
could say what was meant.
"""

from __future__ import annotations

import re
from typing import Any

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?[0-9]{1,18}(\.[0-9]{1,18})?([eE][-+]?[0-9]{1,3})?")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


class Plain(str):
    """Text without quotes: where any value may stand, `true` and `5` in it are a boolean and a number."""

    __slots__ = ()


def is_null(text: Plain) -> bool:
    return text in ("", "~", "null")


def natural(value: Any) -> Any:
    """What stands where nobody knows the type: numbers, booleans and null where they are not quoted."""
    match value:
        case dict():
            return {str(key): natural(inner) for key, inner in value.items()}
        case list() | tuple():
            return [natural(inner) for inner in value]
        case Plain() if value in _WORDS:
            return _WORDS[value]
        case Plain() if _INTEGER.fullmatch(value):
            return int(value)
        case Plain() if _FLOAT.fullmatch(value):
            return float(value)
        case str():
            return str(value)
    return value
