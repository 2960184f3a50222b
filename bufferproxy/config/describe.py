"""The tree seen from outside: which keys there are where, and what pydantic's findings mean in our words."""

from __future__ import annotations

import difflib
from typing import Any, get_args, get_origin

from pydantic import ValidationError

from bufferproxy.config.block import Block
from bufferproxy.config.origin import Path, Problem, dotted
from bufferproxy.config.settings import Settings

_MISSING = {"to": "is missing: write to: http://HOST:PORT", "file": "is missing: name the file of API keys"}
_NO_SERVICE = "is missing: name at least one service, or give --to URL"


def problems_of(failure: ValidationError) -> list[Problem]:
    """Every finding, told once. A key that cannot be is told at the key."""
    found = []
    for error in failure.errors(include_url=False, include_input=True):
        path: Path = error["loc"]
        match error["type"]:
            case "missing":
                message = _NO_SERVICE if path == ("services",) else _MISSING.get(str(path[-1]), "is missing")
                found.append(Problem(path, message, "missing"))
            case "extra_forbidden":
                found.append(Problem(path, unknown(path), "unknown"))
            case "too_short":
                found.append(Problem(path, _NO_SERVICE.replace("is missing", "is empty")))
            case "value_error" if path[-1] == "[key]":
                found.append(Problem(path[:-1], str(error["ctx"]["error"]), "unknown"))
            case "value_error":
                found.append(Problem(path, str(error["ctx"]["error"])))
            case _:
                found.append(Problem(path, _shape(error["input"], error["type"], error["msg"])))
    return found


def _shape(given: Any, kind: str, otherwise: str) -> str:
    if kind not in ("model_type", "dict_type"):
        return otherwise
    if given is None:
        return "has no value: give it keys, or leave it out"
    return f"must be a map of keys to values, not {'a list' if isinstance(given, list) else 'a single value'}"


def unknown(path: Path) -> str:
    """What to say of a key that is not one."""
    key, known = str(path[-1]), keys_at(path[:-1])
    homes = [home for home, keys in _homes() if key in keys]
    if homes:
        return f"unknown key: it belongs under {' or '.join(homes[:3])}"
    close = difflib.get_close_matches(key.lower().replace("-", "_"), known, 1, 0.6)
    if close:
        return f"unknown key: did you mean {close[0]}?"
    return f"unknown key: here there are {', '.join(known)}" if known else "unknown key"


def keys_at(path: Path) -> list[str]:
    """The keys that the map at `path` can have; none for one whose keys are free."""
    kind: Any = Settings
    for part in path:
        if isinstance(kind, type) and issubclass(kind, Block) and part in kind.model_fields:
            kind = inner_block(kind.model_fields[str(part)].annotation)
        elif get_origin(kind) is dict:
            kind = inner_block(get_args(kind)[1])
        else:
            return []
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, Block) else []


def inner_block(annotation: Any) -> Any:
    """The Block, or the map of Blocks, that an annotation such as `Match | None` leads to; else None."""
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return annotation
    if get_origin(annotation) is dict:
        return annotation if inner_block(get_args(annotation)[1]) is not None else None
    return next((found for each in get_args(annotation) if (found := inner_block(each)) is not None), None)


def _homes(kind: Any = Settings, path: Path = ()) -> list[tuple[str, list[str]]]:
    """Every block with its keys: (`services.NAME.retry`, [attempts, …])."""
    if get_origin(kind) is dict:
        return _homes(get_args(kind)[1], (*path, "NAME"))
    here = [(dotted(path) if path else "the top level", list(kind.model_fields))]
    for name, described in kind.model_fields.items():
        inner = inner_block(described.annotation)
        if inner is not None:
            here += _homes(inner, (*path, name))
    return here
