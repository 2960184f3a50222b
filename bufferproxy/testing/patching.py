"""Puts something around a function of the product, for mutants and crash points."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    """`around` is called in place of `owner.name`, with the original before the arguments. Raises
    AttributeError when `owner` itself has no such function: then what was to be patched has moved."""
    if name not in vars(owner):
        raise AttributeError(f"{owner.__name__} has no {name} to be patched: has it moved?")
    original = vars(owner)[name]

    @functools.wraps(original)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        return around(original, *arguments, **named)

    setattr(owner, name, wrapped)
