"""The settings as people write them: each value with its unit, and where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from bufferproxy.config.load import Loaded
from bufferproxy.config.origin import Path, dotted
from bufferproxy.config.redact import is_secret, redact
from bufferproxy.config.settings import Settings


class Row(NamedTuple):
    """`value` is what the file can hold: text, a number, a boolean, None, or a list or map of these."""

    key: str
    value: Any
    origin: str


def rows(loaded: Loaded) -> list[Row]:
    """Every setting, in the order of the tree, without secrets."""
    named = ((dotted(path), value) for path, value in leaves(loaded.settings))
    return [Row(key, value, str(loaded.origin(key))) for key, value in named]


def leaves(settings: Settings) -> Iterator[tuple[Path, Any]]:
    """Every path with its value. Secrets are `***`, and nothing that hangs below one has a path of its own,
    for the text of a secret may have been taken for keys."""
    return _leaves(settings.model_dump(mode="json"), ())


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value and not is_secret(path):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
        return
    yield path, redact(path, value)
